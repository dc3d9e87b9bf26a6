//! The one executable.
fn main() -> std::process::ExitCode {
    server::main()
}
