use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use crate::alive::{Alive, until_all_have_ended};

fn exec(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.arg("exec").args(args);
    command
}

fn output(args: &[&str]) -> Output {
    exec(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn lines_have_the_time_unless_the_journal_writes_one() {
    let path = std::env::temp_dir().join(format!("steadfast-journal-{}", std::process::id()));
    let lines = |journal: &dyn Fn(&std::fs::Metadata) -> String| {
        let file = std::fs::File::create(&path).unwrap();
        let told = journal(&file.metadata().unwrap());
        let mut command = exec(&["--", "true"]);
        let ended = command.env("JOURNAL_STREAM", told).stderr(file).status();
        assert!(ended.unwrap().success());
        std::fs::read_to_string(&path).unwrap()
    };

    let timed = lines(&|_| "1:2".into());
    let (time, rest) = timed.split_once(' ').unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{timed}");
    assert!(
        rest.starts_with(" INFO steadfast::exec: started"),
        "{timed}"
    );
    let of_journal = lines(&|file| format!("{}:{}", file.dev(), file.ino()));
    assert!(
        of_journal.starts_with(" INFO steadfast::exec: started"),
        "{of_journal}"
    );
    std::fs::remove_file(path).unwrap();
}

/// A supervisor that runs, with its lines.
struct Supervisor {
    child: Child,
    lines: BufReader<ChildStderr>,
}

impl Supervisor {
    fn start(args: &[&str]) -> Self {
        let mut child = exec(args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        Self { child, lines }
    }

    /// Reads on to a line with this.
    fn line_with(&mut self, part: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "no line with {part:?} in:\n{seen}");
            if line.contains(part) {
                return line;
            }
            seen += &line;
        }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(sent.unwrap().success());
    }

    fn ended(&mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        code
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // For a test that failed; it has ended by itself otherwise.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_program_runs_once_with_its_output_and_its_exit_code() {
    let ended = output(&["--", "sh", "-c", "echo out; echo err >&2; exit 3"]);

    assert_eq!(text(&ended.stdout), "out\n");
    let stderr = text(&ended.stderr);
    assert!(stderr.contains("err\n"), "{stderr}");
    assert!(stderr.contains("ended with exit code 3"), "{stderr}");
    assert_eq!(ended.status.code(), Some(3));
    assert_eq!(output(&["--", "true"]).status.code(), Some(0));
}

#[test]
fn a_program_that_is_not_there_is_said_so_with_the_code_of_a_shell() {
    for program in ["no-such-program", "/no/such/program"] {
        let ended = output(&["--supervise", "--", program]);

        let stderr = text(&ended.stderr);
        assert!(
            stderr.contains("cannot be started: there is no such program"),
            "{stderr}"
        );
        assert_eq!(ended.status.code(), Some(127));
    }
}

#[test]
fn what_no_recovery_inside_can_catch_is_restarted_until_it_is_too_often() {
    let check = |program: &str, name: &str, code: i32| {
        let args = ["--supervise", "--restarts", "2", "--backoff", "1ms"];
        let ended = output(&[&args[..], &["--", "sh", "-c", program]].concat());

        let stderr = text(&ended.stderr);
        assert_eq!(
            stderr.matches(&format!("ended by {name}")).count(),
            3,
            "{stderr}"
        );
        assert_eq!(stderr.matches("last words").count(), 6, "{stderr}");
        assert!(!stderr.contains("in 0ns"), "{stderr}");
        assert!(
            stderr.contains("restarting at once; restart 1 of"),
            "{stderr}"
        );
        assert!(
            stderr.contains("needs more than 2 restarts within 300s"),
            "{stderr}"
        );
        assert_eq!(ended.status.code(), Some(code));
    };

    check("echo last words >&2; kill -ABRT $$", "SIGABRT", 134);
    check("echo last words >&2; kill -KILL $$", "SIGKILL", 137);
    // The stack of a shell overflows in earnest.
    check(
        "ulimit -s 256; echo last words >&2; f() { f; }; f",
        "SIGSEGV",
        139,
    );
}

#[test]
fn a_good_end_is_an_end_unless_it_is_always_restarted() {
    let once = output(&["--supervise", "--", "true"]);
    assert_eq!(once.status.code(), Some(0));

    let args = [
        "--supervise",
        "--restart",
        "always",
        "--restarts",
        "1",
        "--backoff",
        "1ms",
    ];
    let always = output(&[&args[..], &["--", "true"]].concat());
    assert_eq!(text(&always.stderr).matches("started").count(), 2);
    // What was given up has failed.
    assert_eq!(always.status.code(), Some(1));
}

#[test]
fn a_termination_is_passed_on_and_the_program_ends_in_its_own_way() {
    let program = "trap 'echo leaving >&2; exit 0' TERM; sleep 1000 & echo up >&2; wait";
    let mut supervisor = Supervisor::start(&["--supervise", "--", "sh", "-c", program]);
    supervisor.line_with("up");

    supervisor.signal("TERM");

    supervisor.line_with("leaving");
    supervisor.line_with("asked to end, and ended with exit code 0");
    assert_eq!(supervisor.ended(), Some(0));
}

#[test]
fn a_program_that_does_not_end_is_killed_with_all_that_it_has_started() {
    let alive = Alive::new("stubborn");
    let program = alive.held("trap '' TERM");
    let args = [
        "--supervise",
        "--stop-within",
        "50ms",
        "--",
        "sh",
        "-c",
        &program,
    ];
    let mut supervisor = Supervisor::start(&args);
    let watched = alive.watch();
    supervisor.line_with("up");

    supervisor.signal("TERM");

    supervisor.line_with("killed since it did not in time");
    until_all_have_ended(watched);
    assert_eq!(supervisor.ended(), Some(137));
}

#[test]
fn what_a_program_leaves_behind_is_killed_before_it_is_started_again() {
    let alive = Alive::new("left");
    let program = format!("exec 9>{}; sleep 1000 & exit 1", alive.path());
    let args = ["--supervise", "--restarts", "0", "--", "sh", "-c", &program];
    let mut supervisor = Supervisor::start(&args);

    until_all_have_ended(alive.watch());

    assert_eq!(supervisor.ended(), Some(1));
}

#[test]
fn a_program_and_what_it_has_started_die_with_a_supervisor_that_is_killed() {
    let alive = Alive::new("orphan");
    let program = alive.held("{ (sleep 1000; :) & }");
    let mut supervisor = Supervisor::start(&["--supervise", "--", "sh", "-c", &program]);
    let watched = alive.watch();
    supervisor.line_with("up");

    supervisor.signal("KILL");

    until_all_have_ended(watched);
}

#[test]
fn a_program_has_nothing_to_read() {
    let ended = output(&["--", "sh", "-c", "cat; readlink /proc/self/fd/0"]);

    assert_eq!(text(&ended.stdout), "/dev/null\n");
}

#[test]
fn signals_that_mean_nothing_to_us_are_passed_on() {
    let program = "trap 'echo reloaded >&2' HUP; trap 'echo rotated >&2' USR1; \
                   echo up >&2; while :; do sleep 1000 & wait; done";
    let mut supervisor = Supervisor::start(&["--supervise", "--", "sh", "-c", program]);
    supervisor.line_with("up");

    supervisor.signal("HUP");
    supervisor.line_with("reloaded");
    supervisor.signal("USR1");
    supervisor.line_with("rotated");

    supervisor.signal("TERM");
    assert_eq!(supervisor.ended(), Some(0));
}

#[test]
fn a_program_that_hangs_is_killed_and_started_again() {
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/health", service.local_addr().unwrap());
    // Well at first; then it accepts and says nothing, three times; then it is well.
    let served = std::thread::spawn(move || {
        let mut silent = Vec::new();
        for request in 0..5 {
            let (mut stream, _) = service.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            assert_eq!(line, "GET /health HTTP/1.1\r\n");
            match request {
                0 | 4 => stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap(),
                _ => silent.push(stream),
            }
        }
    });
    let health = [
        "--health",
        &url,
        "--health-every",
        "40ms",
        "--backoff",
        "1ms",
    ];
    let args = [&["--supervise"], &health[..], &["--", "sleep", "1000"]].concat();
    let mut supervisor = Supervisor::start(&args);

    supervisor.line_with("run=1");
    supervisor.line_with("killed since it hung: no answer within 40ms");
    supervisor.line_with("run=2");
    served.join().unwrap();
    supervisor.signal("TERM");
    // Killed as hanging, perhaps, since nobody serves any more; or ended by the signal.
    supervisor.ended();
}

#[test]
fn a_flood_of_output_is_passed_on_whole() {
    let ended = output(&["--", "head", "-c", "10000000", "/dev/zero"]);

    assert_eq!(ended.stdout.len(), 10_000_000);
    assert_eq!(ended.status.code(), Some(0));
}

/// A control group with little memory, below that of this process; none where that may not be made.
struct Tight(std::path::PathBuf);

impl Tight {
    fn make() -> Option<Self> {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let group_of = |is_it: &dyn Fn(&str, &str) -> bool| {
            own.lines().find_map(|line| {
                let parts: Vec<&str> = line.splitn(3, ':').collect();
                is_it(parts[0], parts[1]).then(|| parts[2].trim_start_matches('/').to_owned())
            })
        };
        let name = format!("steadfast-tight-{}", std::process::id());
        let places = [
            (
                "memory",
                group_of(&|_, controllers| controllers.split(',').any(|one| one == "memory")),
                "memory.limit_in_bytes",
            ),
            ("", group_of(&|number, _| number == "0"), "memory.max"),
        ];
        places.into_iter().find_map(|(below, group, limit)| {
            let root = std::path::Path::new("/sys/fs/cgroup").join(below);
            let made = Self(root.join(group?).join(&name));
            std::fs::create_dir(&made.0).ok()?;
            std::fs::write(made.0.join(limit), "96M").ok()?;
            Some(made)
        })
    }
}

impl Drop for Tight {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Holds 512 MiB.
const GREEDY: [&str; 5] = ["dd", "if=/dev/zero", "of=/dev/null", "bs=512M", "count=1"];

#[test]
fn a_program_that_the_kernel_kills_for_want_of_memory_is_restarted_and_told_from_one_that_somebody_kills()
 {
    let Some(tight) = Tight::make() else {
        crate::serve::tell(
            "no control group can be made here: nothing is killed for want of memory",
        );
        return;
    };
    let run = |program: &[&str]| {
        let args = ["exec", "--supervise", "--restarts", "1", "--backoff", "1ms"];
        let ended = Command::new("sh")
            .args(["-c", "echo $$ > \"$1\" && shift && exec \"$@\"", "sh"])
            .arg(tight.0.join("cgroup.procs"))
            .arg(env!("CARGO_BIN_EXE_steadfast"))
            .args(args)
            .arg("--")
            .args(program)
            .output()
            .unwrap();
        (text(&ended.stderr), ended.status.code())
    };

    let (stderr, code) = run(&GREEDY);
    let told = "ended by SIGKILL (for want of memory: the kernel has killed in its control group)";
    assert_eq!(stderr.matches(told).count(), 2, "{stderr}");
    assert_eq!(code, Some(137), "{stderr}");

    let (stderr, code) = run(&["sh", "-c", "kill -KILL $$"]);
    let told = "ended by SIGKILL (somebody killed it, and not the kernel for want of memory)";
    assert_eq!(stderr.matches(told).count(), 2, "{stderr}");
    assert_eq!(code, Some(137), "{stderr}");

    // It is not itself that was killed.
    let below = format!("{}; exit 7", GREEDY.join(" "));
    let (stderr, code) = run(&["sh", "-c", &below]);
    let told = "ended with exit code 7; the kernel has killed for want of memory meanwhile";
    assert_eq!(stderr.matches(told).count(), 2, "{stderr}");
    assert_eq!(code, Some(7), "{stderr}");
}

#[test]
fn a_program_that_is_denied_memory_by_its_limit_has_failed_in_its_own_words() {
    let program = format!("ulimit -v 200000; exec {}", GREEDY.join(" "));

    let ended = output(&["--", "sh", "-c", &program]);

    let stderr = text(&ended.stderr);
    assert!(
        stderr.contains("ended with exit code 1; its last lines"),
        "{stderr}"
    );
    assert!(stderr.contains("\n    dd: memory exhausted"), "{stderr}");
    assert_eq!(ended.status.code(), Some(1));
}

#[test]
fn lines_on_a_terminal_have_colors_unless_nobody_wants_them() {
    let told = |no_color: &str| {
        // It makes a terminal, as one that people sit at.
        let command = format!("exec {} exec -- true", env!("CARGO_BIN_EXE_steadfast"));
        let ended = Command::new("script")
            .args(["-qefc", &command, "/dev/null"])
            .env("TERM", "xterm")
            .env("NO_COLOR", no_color)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = text(&ended.stdout);
        assert!(text.contains("ended with exit code 0"), "{text}");
        text
    };

    assert!(told("").contains('\x1b'));
    let plain = told("1");
    assert!(!plain.contains('\x1b'), "{plain:?}");
}

#[test]
fn mistakes_in_the_options_are_refused_with_a_fix() {
    let check = |args: &[&str], expect: &str| {
        let ended = output(&[args, &["--", "true"]].concat());
        let stderr = text(&ended.stderr);
        assert!(stderr.contains(expect), "{stderr}");
        assert_eq!(ended.status.code(), Some(2));
    };

    check(
        &["--within", "5"],
        "\"5\" has no unit; write \"5ms\" or \"5s\"",
    );
    check(
        &["--health", "localhost"],
        "write http://HOST:PORT/PATH or tcp://HOST:PORT",
    );
    check(
        &["--restart", "never"],
        "[possible values: on-failure, always]",
    );
}
