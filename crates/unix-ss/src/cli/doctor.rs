//! The command line of `doctor`.

use std::path::PathBuf;

use clap::Args;

use super::values::any_path;

pub(super) const ABOUT: &str = "\
Says all that is wrong or risky about each PATH, whether or not a server is there: its length, the directories and \
symbolic links on the way to it, who may put something else in its place, who can connect, what stands there, locks and \
sockets that the dead have left, servers that have lost the path, cleaners of old files, the file system, and what cannot be \
seen from this container. Each finding comes with its remedy.

A server that has lost the path is found by the name that it was bound by: not one that was bound by a relative name (as other \
programs do), by another way through symbolic links, by a path over 107 bytes, or in another network namespace.

The directories are judged for the user whose server it is: whoever listens, as far as the kernel tells; else the owner of the \
socket; where there is none, you.

Changes nothing. As `status`, it asks the kernel for its lists, and connects only to a socket that is not on them: one of \
another network namespace, which the connection may start if it is an on-demand program, or a dead one.";

pub(super) const EXAMPLES: &str = "\
Examples:
  unix-ss doctor /run/me/echo
  unix-ss doctor --json /tmp/*.sock | jq -r 'select(.severity == \"error\") | .path + \": \" + .remedy'

A finding is an error (it does not work, or not for long), a warning (it works by luck, or others
can harm it), or a note (good to know).

With --json, one object a line for each finding: path (and path_hex if it is not UTF-8), severity
(error, warning, note), finding (its name, which is kept), about (the file that it is about; and
about_hex likewise), why, remedy. Keys and findings are only ever added.

The findings, by what they are about:
  its name: name-long, path-invalid, path-long, path-too-long
  the way to it: directory-append-only, directory-closed-to-clients, directory-closed-to-you,
    directory-immutable, directory-of-another-user, directory-open-by-acl,
    directory-open-to-all, directory-open-to-group, directory-shared, entry-of-another-user,
    link-of-proc, owner-unknown, parent-missing, parent-not-directory, parent-not-writable,
    parent-unreadable, symlink-loop, symlink-on-the-way
  what is there: absent, cannot-tell, not-a-socket, path-is-symlink, server-busy, socket-closed,
    socket-dead, socket-not-listening, socket-of-another-type, socket-of-another-user,
    symlink-dangling
  who connects, who listens: listener-of-another-user, listeners-unknown, other-mount-namespace,
    server-lost-path, who-connects
  locks and leftovers: life-lock-held, life-lock-left, lock-foreign, lock-held, lock-left,
    lock-left-by-another-user, lock-linked, lock-unknown, lock-unmarked, start-lock-left,
    temporary-left, temporary-name-taken, temporary-of-another-user
  around it: file-system-full, file-system-not-local, file-system-overlay,
    file-system-read-only, file-system-without-flock, no-proc, pid-namespace, session-directory,
    temporary-directory, tmp-cleaner, xdg-runtime-dir-unfit, xdg-runtime-dir-unset

Exit status: 0 if there is no finding but notes; 1 if there is a warning or an error; 4 if what
stands at PATH could not be told. Of several, the highest.
";

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// One JSON object a line
    #[arg(long)]
    pub(crate) json: bool,

    /// What to examine
    #[arg(required = true, value_name = "PATH", value_parser = any_path())]
    pub(crate) paths: Vec<PathBuf>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Each word of the command's help that looks like a finding's name, and each string of the sources.
    #[test]
    fn the_help_names_each_finding_and_no_other() {
        let is_name = |word: &str| {
            word == "absent"
                || word.contains('-')
                    && word.split('-').all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase()))
        };
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/doctor");
        let mut found = BTreeSet::new();
        for entry in std::fs::read_dir(directory).expect("the sources") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(path).expect("text");
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                found.extend(code.split('"').filter(|text| is_name(text)).map(str::to_owned));
            }
        }
        let (_, list) = EXAMPLES.split_once("The findings, ").expect("a list");
        let list = list.split("\n\n").next().unwrap_or_default();
        let told: BTreeSet<_> = list.split([' ', ',', '\n']).filter(|word| is_name(word)).map(str::to_owned).collect();
        assert_eq!(told, found);
    }
}
