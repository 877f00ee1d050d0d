//! What this machine has: hides where the system says so.

/// Bytes of memory that this process may take: those of the machine, or fewer where its container
/// has fewer. [`usize::MAX`] where the system does not say.
pub(super) fn memory_bytes() -> usize {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    // Of the machine; of a container with control groups of version 2; the same of version 1.
    let machine = read("/proc/meminfo").as_deref().and_then(bytes_of_meminfo);
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let group = groups.into_iter().filter_map(read).filter_map(|text| text.trim().parse().ok());
    machine.into_iter().chain(group).min().unwrap_or(usize::MAX)
}

fn bytes_of_meminfo(text: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_s_memory_is_read_as_the_system_writes_it() {
        let text = "MemTotal:       24576000 kB\nMemFree:          100 kB\n";
        assert_eq!(bytes_of_meminfo(text), Some(24_576_000 << 10));
        assert_eq!(bytes_of_meminfo("MemFree: 100 kB\n"), None);
        assert!(memory_bytes() > 1 << 20);
    }
}
