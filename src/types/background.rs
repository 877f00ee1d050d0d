//! Background work: hides how the operating system is told that answering goes before bulk work.

use thread_priority::{ThreadPriority, set_current_thread_priority};

/// The priority of background threads, from 0 to 99. On Linux it makes the thread's nice value 10:
/// beside threads that answer requests it gets a tenth of a core, on an idle machine all of it.
const PRIORITY: u8 = 22;

/// Makes the calling thread one of the background, for good: it waits while others have work and
/// no core is free. Where the system refuses, which is logged, it stays as it is.
pub fn lower_priority() {
    let Ok(priority) = ThreadPriority::try_from(PRIORITY) else { return };
    if let Err(error) = set_current_thread_priority(priority) {
        tracing::warn!(?error, "a background thread keeps its priority");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    /// The nice value of the calling thread.
    fn nice() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("readable");
        // Fields are counted behind the name, which is in brackets and may have spaces.
        let fields = stat.rsplit_once(") ").expect("a name").1;
        fields.split(' ').nth(16).and_then(|nice| nice.parse().ok()).expect("a nice value")
    }

    #[test]
    fn a_background_thread_is_nicer_than_the_others() {
        let before = nice();
        let inside = std::thread::spawn(|| {
            super::lower_priority();
            nice()
        });
        assert!(inside.join().expect("no panic") > before);
        assert_eq!(nice(), before);
    }
}
