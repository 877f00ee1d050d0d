//! The `arrwdb` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    arrwdb::cli::run()
}
