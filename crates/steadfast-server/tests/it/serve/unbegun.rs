//! Programs that cannot be begun: nothing was done, and no attempt is spent.

use std::os::unix::fs::PermissionsExt;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use super::*;

/// Waits until a job with one attempt waits for what is not there; then it has spent none.
async fn until_put_off(jobs: &Jobs, id: JobId, why: &str) {
    let job = until(jobs, id, |job| {
        let waits = job.info.state == State::Waiting && job.info.error.is_some();
        waits || job.info.state.is_terminal()
    })
    .await;
    let error = job.info.error.as_deref().unwrap_or_default();
    assert!(error.starts_with(why), "{job:?}");
    let is = (job.info.state, job.info.attempt);
    assert_eq!(is, (State::Waiting, 0), "{job:?}");
}

fn make_program(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn what_is_not_there_yet_costs_no_attempt_and_keeps_no_other_from_its_jobs() {
    let folder = Folder::new("later");
    let program = |name: &str| folder.path().join(name);
    let (later, closed, speaks) = (program("later"), program("closed"), program("speaks"));
    let (gone, interpreter) = (program("mounted-later"), program("interpreter"));
    let of =
        |name: &str, path: &Path| format!("[handlers.{name}]\nexec = [\"{}\"]\n", path.display());
    make_program(&closed, "#!/bin/sh\n", 0o644);
    make_program(&speaks, &format!("#!{}\n", interpreter.display()), 0o755);
    let config = folder.configure(&format!(
        "{}{}{}{}{}",
        of("later", &later),
        of("closed", &closed),
        of("speaks", &speaks),
        shell("folder", "pwd", &format!("dir = \"{}\"", gone.display())),
        shell("well", "true", ""),
    ));
    let checked = output(&["--config", config.to_str().unwrap(), "--check"]);
    let told = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(78), "{told}");
    let lacks_program = format!("there is no program {} here", later.display());
    let lacks_folder = format!("there is no folder {} to run it in", gone.display());
    assert!(told.contains(&lacks_program), "{told}");
    assert!(told.contains(&lacks_folder), "{told}");

    let mut server = Server::start(&config);
    let jobs = jobs(&folder).await;
    let mut late = Vec::new();
    for kind in ["later", "closed", "speaks", "folder"] {
        late.push(enqueue(&jobs, kind, "null", 1).await);
    }
    let well = enqueue(&jobs, "well", "null", 1).await;
    until_state(&jobs, well, State::Completed).await;
    let cannot = |path: &Path, why: &str| format!("cannot start {}: {why}", path.display());
    let why = [
        cannot(&later, "there is no such program"),
        cannot(&closed, "Permission denied"),
        cannot(&speaks, "what its first line names is not there"),
        lacks_folder,
    ];
    for (id, why) in late.iter().zip(&why) {
        until_put_off(&jobs, *id, why).await;
    }
    let told = server.line_with("a program cannot be begun; its jobs wait");
    assert!(told.contains("WARN") && told.contains("fix="), "{told}");

    std::fs::create_dir(&gone).unwrap();
    make_program(&later, "#!/bin/sh\n", 0o755);
    make_program(&closed, "#!/bin/sh\n", 0o755);
    std::os::unix::fs::symlink("/bin/sh", &interpreter).unwrap();
    for id in late {
        let job = until_state(&jobs, id, State::Completed).await;
        assert_eq!(job.info.attempt, 1, "{job:?}");
    }
    server.stop();
}

#[tokio::test]
async fn a_user_who_is_not_there_keeps_no_other_handler_from_its_jobs() {
    let folder = Folder::new("no-user");
    let config = folder.configure(&format!(
        "{}{}",
        shell("theirs", "true", "user = \"nobody-of-that-name\""),
        shell("ours", "true", "")
    ));
    let why = "there is no user \"nobody-of-that-name\" here";
    let checked = output(&["--config", config.to_str().unwrap(), "--check"]);
    let told = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(78), "{told}");
    assert!(told.contains(why), "{told}");

    let mut server = Server::start(&config);
    let jobs = jobs(&folder).await;
    let theirs = enqueue(&jobs, "theirs", "null", 1).await;
    let ours = enqueue(&jobs, "ours", "null", 1).await;

    until_state(&jobs, ours, State::Completed).await;
    until_put_off(&jobs, theirs, why).await;
    let told = server.line_with("a program cannot be begun; its jobs wait");
    assert!(told.contains(why), "{told}");
    server.stop();
}

#[tokio::test]
async fn a_process_that_cannot_be_made_costs_no_attempt() {
    let folder = Folder::new("no-files");
    let mut server = Server::start(&folder.configure(&shell("noop", "true", "")));
    server.line_with("ready");
    let jobs = jobs(&folder).await;
    let first = enqueue(&jobs, "noop", "null", 1).await;
    until_state(&jobs, first, State::Completed).await;
    let pid = Pid::from_raw(server.child.id().try_into().unwrap());
    // That of the server, which was started by us.
    let own = getrlimit(Resource::Nofile);
    let files = |current| prlimit(pid, Resource::Nofile, Rlimit { current, ..own }).unwrap();
    // No file more than those that are open.
    files(Some(3));

    let id = enqueue(&jobs, "noop", "null", 1).await;
    until_put_off(&jobs, id, "cannot start /bin/sh: ").await;

    files(own.current);
    let job = until_state(&jobs, id, State::Completed).await;
    assert_eq!(job.info.attempt, 1, "{job:?}");
    server.stop();
}

/// A disk that answers nothing, as a mount of another machine that is down; none where this process may not mount.
struct Silent {
    at: PathBuf,
    shell: Child,
}

impl Silent {
    fn mount(at: &Path) -> Option<Self> {
        let script = format!(
            "exec 3<>/dev/fuse && mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 silent {} && echo there && read end",
            at.display()
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = shell.stderr(Stdio::null()).spawn().unwrap();
        let mut told = String::new();
        let mut lines = BufReader::new(shell.stdout.take().unwrap());
        lines.read_line(&mut told).unwrap();
        let at = at.to_owned();
        let silent = Self { at, shell };
        (told == "there\n").then_some(silent)
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // Whoever waits for an answer is told that there is none: the shell has the other end.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

#[tokio::test]
async fn a_disk_that_does_not_answer_keeps_no_other_handler_from_its_jobs() {
    let folder = Folder::new("silent");
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let rest = format!("dir = \"{}\"\ntimeout = \"2s\"", disk.display());
    let config = folder.configure(&format!(
        "{}{}",
        shell("there", "true", &rest),
        shell("well", "true", "")
    ));
    let mut server = Server::start(&config);
    server.line_with("ready");
    let jobs = jobs(&folder).await;
    let Some(silent) = Silent::mount(&disk) else {
        return;
    };

    // More than there are threads.
    let mut there = Vec::new();
    for _ in 0..8 {
        there.push(enqueue(&jobs, "there", "null", 1).await);
    }
    for id in &there {
        until_put_off(&jobs, *id, "it was not begun within 1s").await;
        let well = enqueue(&jobs, "well", "null", 1).await;
        until_state(&jobs, well, State::Completed).await;
    }
    let checked = output(&["--config", config.to_str().unwrap(), "--check"]);
    let told = String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.status.code(), Some(78), "{told}");
    let hangs = "its program and its folder cannot be looked at within 5s";
    assert!(told.contains(hangs), "{told}");

    drop(silent);
    for id in there {
        let job = until_state(&jobs, id, State::Completed).await;
        assert_eq!(job.info.attempt, 1, "{job:?}");
    }
    server.stop();
}
