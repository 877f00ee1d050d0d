//! The state file: how the last run used the log and how it left it.

use std::io;
use std::path::Path;

use super::Durability;
use super::disk::Disk;
use crate::types::Revision;

/// The state file's name in the log's folder.
const FILE_NAME: &str = "STATE";
const MAGIC: [u8; 8] = *b"arrwstat";
const VERSION: u32 = 1;
const BYTES: usize = 52;

/// How the last run used the log and how it left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// What the run promised.
    pub(super) durability: Durability,
    /// The run of the machine it was in, where that can be known.
    pub(super) boot_id: Option<[u8; 16]>,
    /// Where everything was durable when it was closed; `None` when it was not.
    pub(super) closed: Option<ClosedAt>,
}

/// The end of a log that was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClosedAt {
    /// The first revision of the last piece, which names it.
    pub(super) piece: Revision,
    /// Its length in bytes.
    pub(super) length: u64,
}

impl State {
    /// Reads the state file of a folder; `None` when there is none or it cannot be believed, and
    /// then nothing is known about the last run.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(folder.join(FILE_NAME)) {
            Ok(bytes) => {
                let state = Self::decode(&bytes);
                if state.is_none() {
                    tracing::warn!(folder = %folder.display(), "the log's state file is damaged");
                }
                Ok(state)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the state file, at once and durably.
    pub(super) fn write(&self, folder: &Path, disk: &dyn Disk) -> io::Result<()> {
        disk.create(&folder.join(FILE_NAME), &self.encode()).map(drop)
    }

    fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12] = match self.durability {
            Durability::Fsync => 0,
            Durability::Os => 1,
        };
        bytes[13] = u8::from(self.closed.is_some());
        bytes[16..32].copy_from_slice(&self.boot_id.unwrap_or_default());
        if let Some(closed) = self.closed {
            bytes[32..40].copy_from_slice(&closed.piece.0.to_le_bytes());
            bytes[40..48].copy_from_slice(&closed.length.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&bytes[..48]);
        bytes[48..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
        let number = |at: usize| bytes[at..].first_chunk().copied().map(u64::from_le_bytes);
        let checksum = crc32c::crc32c(&bytes[..48]).to_le_bytes();
        if bytes[..8] != MAGIC || bytes[8..12] != VERSION.to_le_bytes() || bytes[48..] != checksum {
            return None;
        }
        let boot_id: [u8; 16] = bytes[16..32].try_into().ok()?;
        let closed = ClosedAt { piece: Revision(number(32)?), length: number(40)? };
        Some(Self {
            durability: match bytes[12] {
                0 => Durability::Fsync,
                1 => Durability::Os,
                _ => return None,
            },
            boot_id: (boot_id != [0; 16]).then_some(boot_id),
            closed: (bytes[13] == 1).then_some(closed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_round_trip_and_damage_is_noticed() {
        for closed in [None, Some(ClosedAt { piece: Revision(7), length: 1_000 })] {
            for durability in [Durability::Fsync, Durability::Os] {
                for boot_id in [None, Some([3; 16])] {
                    let state = State { durability, boot_id, closed };
                    let mut bytes = state.encode();
                    assert_eq!(State::decode(&bytes), Some(state));
                    assert_eq!(State::decode(&bytes[1..]), None);
                    bytes[13] ^= 1;
                    assert_eq!(State::decode(&bytes), None);
                }
            }
        }
    }
}
