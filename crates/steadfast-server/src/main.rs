//! The program `steadfast`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    steadfast_server::main()
}
