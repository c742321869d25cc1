//! `unix-ss`: all of it is in the library beside this file.

fn main() -> std::process::ExitCode {
    unix_ss_command::run()
}
