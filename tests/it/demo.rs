//! The demo, as a user starts it: it checks itself and says so by its status.

use std::process::Command;

#[test]
fn the_demo_holds_what_it_shows() {
    let output = Command::new(env!("CARGO_BIN_EXE_arrwdb"))
        .args(["demo", "--exit"])
        .output()
        .expect("the binary starts");
    let (out, log) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{log}");
    assert_eq!(log, "", "nothing to warn of");
    assert!(out.contains("Figures") && !out.contains("FAILED"), "{out}");
    let folder = out.split('"').nth(1).expect("the folder is named");
    assert!(!std::path::Path::new(folder).exists(), "{folder} is left behind");
}
