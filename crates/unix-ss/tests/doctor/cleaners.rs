//! What systemd-tmpfiles would do is foretold: told, where it does it, and not, where it does not.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::*;

/// What `doctor` says of a live server, and what is to come true.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Foretold {
    /// A warning: deleted under a live server.
    Deleted,
    /// A note: deleted when no server is there.
    Spared,
    /// A note: it has the sticky bit, and stays.
    Sticky,
    /// Nothing: it stays, even when no server is there.
    Kept,
    /// Told, but not as sure: it hangs on the version, or on what is known elsewhere.
    Unsure,
}
use Foretold::*;

/// Rules in which `@` is the directory of a case, what is made there before, the socket, and what becomes of it. Nothing is too
/// young for an age of 0.
const CASES: &[(&str, &str, &str, Foretold)] = &[
    // The name by which the cleaner comes has the say.
    ("e @/link/sub - - - 0", "mkdir -p real/sub; ln -s real link", "real/sub/s", Deleted),
    ("d @/link/sub - - - 0", "mkdir -p real/sub; ln -s real link", "real/sub/s", Deleted),
    ("d @/link/sub - - - 0", "mkdir -p real/sub; ln -s real link", "link/sub/s", Spared),
    ("e @/*/sub - - - 0\nx @/real/sub", "mkdir -p real/sub; ln -s real link", "real/sub/s", Deleted),
    ("e @/*/sub/t - - - 0", "mkdir -p real/t h; ln -s ../real h/sub", "real/t/s", Deleted),
    ("e @/link/sub - - - 0\nx @/real/sub/s", "mkdir -p real/sub; ln -s real link", "real/sub/s", Deleted),
    ("e @/link/sub - - - 0\nx @/link/sub/s", "mkdir -p real/sub; ln -s real link", "real/sub/s", Kept),
    ("e @/link/* - - - 0", "mkdir -p real; ln -s real link", "real/sub/s", Kept),
    ("e @/link/{x,sub} - - - 0", "mkdir -p real/sub; ln -s real link", "real/sub/s", Deleted),
    ("d @/a/../b - - - 0", "mkdir a", "b/s", Deleted),
    ("e @/link - - - 0", "mkdir real; ln -s real link", "real/s", Kept),
    ("e @/link/ - - - 0", "mkdir real; ln -s real link", "real/s", Kept),
    ("d @/link/ - - - 0", "mkdir real; ln -s real link", "real/s", Kept),
    ("d @//b/./ - - - 0", "", "b/s", Spared),
    ("d /var/lock/x - - - 0", "mkdir -p /run/lock", "/run/lock/x/s", Deleted),
    ("d /var/run/x - - - 0", "", "/run/x/s", Spared),
    // Of a replaceable server, or a lock.
    ("d @/t - - - 0", "", "t/s", Sticky),
    ("d @/link/sub - - - 0", "mkdir -p real/sub; ln -s real link", "real/sub/s", Sticky),
    // Which lines count.
    ("d @/a - - - -\ne @/a - - - 0", "", "a/s", Spared),
    ("d @/a - - - -\nd @/a - - - 0", "", "a/s", Kept),
    ("d @/a - - - -\nd+ @/a - - - 0", "", "a/s", Kept),
    ("x @/a\nd @/a - - - 0", "", "a/s", Spared),
    ("x @/a\ne @/a - - - 0", "", "a/s", Kept),
    ("z @/a\nd @/a - - - 0", "", "a/s", Spared),
    ("R @/a\ne @/a - - - 0", "", "a/s", Kept),
    ("R @/a - - - 0\ne @/a - - - 0", "", "a/s", Spared),
    ("d! @/a - - - 0", "", "a/s", Kept),
    ("D! @/a - - - 0", "", "a/s", Kept),
    ("e @/a - - - 0\nx! @/a/k", "", "a/k/s", Spared),
    ("dd @/a - - - 0", "", "a/s", Kept),
    ("d? @/a - - - 0", "", "a/s", Kept),
    ("d-- @/a - - - 0", "", "a/s", Kept),
    ("d-= @/a - - - 0", "", "a/s", Spared),
    ("d @/a - - - 0dd", "", "a/s", Kept),
    ("d @/a - - - -1", "", "a/s", Kept),
    ("d @/a - - - 0.", "", "a/s", Kept),
    ("d @/a - - - q:0", "", "a/s", Kept),
    ("d @/a - - - infinity", "", "a/s", Kept),
    ("d @/a - - - .0", "", "a/s", Spared),
    ("d @/a - - - +0", "", "a/s", Spared),
    ("d @/a - - - \"aB:0s 0 min\"", "", "a/s", Spared),
    ("d @/a - - - ~0", "", "a/s", Kept),
    ("d @/a - - - ~0", "", "a/k/s", Spared),
    ("d @/a 99 - - 0", "", "a/s", Kept),
    ("d @/a :~0755 :root 0 0", "", "a/s", Spared),
    ("d @/a - no-such-user-1 - 0", "", "a/s", Unsure),
    ("d @/a - - - 0\nd @/a/k - no-such-user-1", "", "a/k/s", Unsure),
    ("d @/a - - - 0 it's", "", "a/s", Spared),
    ("d @/a - - - 0\"", "", "a/s", Kept),
    ("# it's\rd @/a - - - 0", "", "a/s", Spared),
    ("d \"@/a b\" - - - 0", "", "a b/s", Spared),
    ("d @/a\\\\b - - - 0", "", "a\\b/s", Spared),
    ("d @/%z - - - 0", "", "%z/s", Unsure),
    ("d @/%%%u%U - - - 0", "", "%root0/s", Spared),
    // What keeps a path.
    ("d @/a - - - 0\nz @/a/s", "", "a/s", Kept),
    ("d @/a - - - 0\nr @/a/k", "", "a/k/s", Kept),
    ("d @/a - - - 0\nR @/a/k", "", "a/k/s", Kept),
    ("d @/a - - - 0\nL @/a/s", "", "a/s", Kept),
    ("d @/a - - - 0\np @/a/s", "", "a/s", Kept),
    ("d @/a - - - 0\nf @/a/s - - - - it's", "", "a/s", Kept),
    ("d @/a - - - 0\na @/a/k - - - - u:0:rw", "", "a/k/s", Kept),
    ("d @/a - - - 0\na @/a/k", "", "a/k/s", Spared),
    ("d @/a - - - 0\nw @/a/k", "", "a/k/s", Spared),
    ("d @/a - - - 0\nC @/a/k", "", "a/k/s", Spared),
    ("d @/a - - - 0\nC @/a/k - - - - @", "", "a/k/s", Kept),
    ("C @/a - - - 0 @", "", "a/s", Spared),
    ("C @/a - - - 0 @/nowhere", "", "a/s", Kept),
    ("d @ - - - 0", "mkdir m; mount -t tmpfs none m", "m/s", Kept),
    ("d @ - - - 0", "mkdir m; mount --bind m m", "m/k/s", Kept),
    ("d @/m - - - 0", "mkdir m; mount -t tmpfs none m", "m/s", Spared),
    // Exclusions that clean.
    ("x @/j - - - 0", "", "j/s", Spared),
    ("x @/* - - - 0", "", "j/s", Kept),
    ("X @/* - - - 0", "", "j/s", Spared),
    ("d @ - - - 0\nX @/x", "", "x/s", Spared),
    ("d @ - - - 0\nX @/x/*", "", "x/s", Kept),
    ("d @ - - - ~0\nX @/x", "", "x/s", Spared),
    ("d @ - - - 0\nX @/x - - - ~0", "", "x/s", Kept),
    ("d @\nd @/x - - - 0\nX @/x/y", "", "x/y/s", Kept),
    ("d @/x - - - 0\nd @\nX @/x/y", "", "x/y/s", Spared),
    ("e @ - - - 0\nX @/x", "", "x/s", Kept),
    // Patterns.
    ("e @/c - - - 0\nx @/c/*", "", "c/.hid/s", Spared),
    ("e @/c - - - 0\nx @/c/[.]hid", "", "c/.hid/s", Spared),
    ("e @/* - - - 0", "", ".z/s", Kept),
    ("e @/.* - - - 0", "", ".z/s", Spared),
    ("e @/f - - - 0\nx @/f/[ab]", "", "f/c/s", Spared),
    ("e @/f - - - 0\nx @/f/[ab]", "", "f/a/s", Kept),
    ("e @/b - - - 0\nx @/b/[!a]*", "", "b/aa/s", Spared),
    ("e @/b - - - 0\nx @/b/[^a]*", "", "b/ba/s", Kept),
    ("e @/b - - - 0\nx @/b/[[:digit:]]", "", "b/7/s", Kept),
    ("e @/b - - - 0\nx @/b/[[:digit:]]", "", "b/a/s", Spared),
    ("e @/b - - - 0\nx @/b/[]a][[.x.]][[=y=]]", "", "b/]xy/s", Kept),
    ("e @/b - - - 0\nx @/b/[a", "", "b/[a/s", Kept),
    ("e @/b - - - 0\nx @/b/a?b", "", "b/a\u{e9}b/s", Spared),
    ("e @/b - - - 0\nx @/b/a\\\\*b", "", "b/a*b/s", Kept),
    ("e @/b - - - 0\nx @/b/a\\\\*b", "", "b/axb/s", Spared),
    ("e @/g/{x,{y,z}w} - - - 0", "", "g/zw/s", Spared),
    ("e @/{g/x,h} - - - 0", "", "g/x/s", Spared),
    ("e @/{a - - - 0", "", "{a/s", Spared),
    ("e @/g - - - 0\nx @/g/{x,y}", "", "g/x/s", Spared),
    ("d @/{x,y} - - - 0", "", "x/s", Kept),
    ("d @/{x,y} - - - 0", "", "{x,y}/s", Spared),
];

/// Names that an exclusion has to write another way.
const NAMES: &[&[u8]] =
    &[b"a b", b"50%", b"*", b"[a]?\\", b"it's \"s\"", b"{a,b}", b"a\tb\nc", b"\xc2\x85\xff", b"..a", b"#"];

const DIR: &str = "/run/case";

#[test]
#[ignore = "needs systemd-tmpfiles"]
fn a_cleaner_does_what_is_foretold() {
    if std::env::var_os("CLEANER_HERE").is_none() {
        if is_root("mounts") && unshares(&["-m"]) {
            // The test again, alone in its process, with mounts of its own.
            let mut again = Command::new("unshare");
            again.arg("-m").arg(std::env::current_exe().expect("a path")).env("CLEANER_HERE", "1");
            again.args(["--ignored", "--exact", "cleaners::a_cleaner_does_what_is_foretold"]);
            let output = run(&mut again);
            assert!(status_of(&output) == 0, "{}{}", text(&output.stdout), text(&output.stderr));
            assert!(text(&output.stdout).contains("1 passed"), "{}", text(&output.stdout));
        }
        return;
    }
    sh("mount -t tmpfs none /run; mkdir /run/case");
    sh(
        "for dir in /etc /usr/lib /usr/local/lib; do test ! -d $dir/tmpfiles.d || mount -t tmpfs none $dir/tmpfiles.d; done",
    );
    for case in CASES {
        try_out(case);
    }
    for name in NAMES {
        for rest in [&[][..], &["s"], &["deep", "s"]] {
            exclude(name, rest);
        }
    }
    let (path, rule) = (Path::new(DIR).join("s"), format!("d {DIR} - - - 0"));
    for (file, is_read) in
        [("/run/tmpfiles.d/.a.conf", false), ("/run/tmpfiles.d/a.CONF", false), ("/run/tmpfiles.d/a.conf", true)]
    {
        let listener = fresh("", &path, file, rule.as_bytes());
        assert_eq!(foretold(&path).is_some(), is_read, "{file}");
        drop(listener);
        if is_read {
            eventually(file, || is_cleaned(&path, &[]));
        } else {
            assert!(!is_cleaned(&path, &[]), "{file}");
        }
    }
    for dir in [".config", ".local/share", "runtime"] {
        let file = format!("/run/home/{dir}/user-tmpfiles.d/a.conf");
        let listener = fresh("", &path, &file, rule.as_bytes());
        let told = foretold(&path).expect("a finding");
        assert!(told["why"].as_str().is_some_and(|why| why.starts_with("systemd-tmpfiles --user deletes")), "{told}");
        assert!(told["remedy"].as_str().is_some_and(|why| why.contains("/run/home/.config/user-tmpfiles.d")), "{told}");
        drop(listener);
        assert!(!is_cleaned(&path, &[]), "{file}");
        eventually(&file, || is_cleaned(&path, &["--user"]));
    }
}

fn try_out(&(rules, before, path, expected): &(&str, &str, &str, Foretold)) {
    let path = Path::new(DIR).join(path);
    let listener = fresh(before, &path, "/run/tmpfiles.d/a.conf", rules.replace('@', DIR).as_bytes());
    if expected == Sticky {
        chmod(&path, 0o1600);
    }
    let told = foretold(&path);
    let (severity, says) = match expected {
        Deleted => ("\"warning\"", "systemd-tmpfiles deletes "),
        Spared => ("\"note\"", "systemd-tmpfiles deletes "),
        Sticky => ("\"note\"", "sticky"),
        Unsure => ("\"note\"", "systemd-tmpfiles may delete"),
        Kept => ("", ""),
    };
    let why = told.as_ref().map_or("", |told| told["why"].as_str().expect("text"));
    let found = told.as_ref().map_or(String::new(), |told| told["severity"].to_string());
    assert!(found == severity && why.contains(says), "{rules}, {}: {told:?}", path.display());
    assert_eq!(is_cleaned(&path, &[]), expected == Deleted, "live: {rules}, {}", path.display());
    drop(listener);
    match expected {
        Deleted | Unsure => {}
        // As soon as nobody has it: a forked process may, until its exec.
        Spared => eventually(rules, || is_cleaned(&path, &[])),
        Sticky | Kept => assert!(!is_cleaned(&path, &[]), "dead: {rules}, {}", path.display()),
    }
}

/// What the remedy excludes stays, a directory too while no server is there; its neighbour goes.
fn exclude(name: &[u8], rest: &[&str]) {
    let first = Path::new(DIR).join(OsStr::from_bytes(name));
    let mut path = first.clone();
    path.extend(rest);
    let (neighbour, file) = (Path::new(DIR).join("neighbour"), "/run/tmpfiles.d/a.conf");
    let rules = format!("d {DIR} - - - 0\n");
    let listener = fresh(">neighbour", &path, file, rules.as_bytes());
    let told = foretold(&path).expect("a finding");
    let remedy = told["remedy"].as_str().expect("text");
    let (what, line) =
        remedy.split_once('`').and_then(|(what, rest)| Some((what, rest.split_once('`')?.0))).expect("a line");
    let says =
        if rest.is_empty() { "exclude it by".to_owned() } else { format!("exclude {}, so that ", first.display()) };
    assert!(what.starts_with(&says), "{remedy}");
    fs::write(file, format!("{rules}{line}\n")).expect("a file");
    assert!(foretold(&path).is_none(), "{line}");
    drop(listener);
    assert!(!is_cleaned(&path, &[]) && !neighbour.exists(), "{line}");
    fs::remove_file(&path).expect("a socket");
    // The directory of the case is not cleaned itself.
    assert!(!is_cleaned(path.parent().expect("a directory"), &[]), "{line}");
}

/// A server at the path, rules, and nothing but what is made before.
fn fresh(before: &str, path: &Path, file: &str, rules: &[u8]) -> UnixListener {
    sh(&format!(
        "umount -R -l {DIR} 2>/dev/null || true; rm -rf /run/home /run/tmpfiles.d; mount -t tmpfs none {DIR}; cd {DIR}; {before}"
    ));
    for file in [path, Path::new(file)] {
        fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
    }
    fs::write(file, [rules, b"\n"].concat()).expect("a file");
    UnixListener::bind(path).expect("a socket")
}

fn sh(script: &str) {
    assert_eq!(status_of(&run(Command::new("sh").args(["-ec", script]))), 0, "{script}");
}

/// By a user with a home, and all directories below that.
fn at_home(command: &mut Command) -> &mut Command {
    let command = command.env("HOME", "/run/home").env("XDG_RUNTIME_DIR", "/run/home/runtime");
    command.env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME")
}

fn foretold(path: &Path) -> Option<Value> {
    let found = found(at_home(unix_ss(&["doctor", "--json"]).arg(path)));
    found.all.into_iter().find(|finding| finding["finding"] == "tmp-cleaner")
}

fn is_cleaned(path: &Path, options: &[&str]) -> bool {
    // Of lines that it passes over, its exit status tells.
    let output = run(at_home(Command::new("systemd-tmpfiles").arg("--clean").args(options)));
    assert!([0, 65, 73].contains(&status_of(&output)), "{output:?}");
    fs::symlink_metadata(path).is_err()
}
