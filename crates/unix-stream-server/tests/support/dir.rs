//! A temporary directory that can say what is in it, to the inode.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A directory of one test, removed at its end whatever is in it.
#[derive(Debug)]
pub struct Dir {
    dir: tempfile::TempDir,
}

/// Everything about a file that a bystander may count on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its inode number.
    pub inode: u64,
    /// Kind and permission bits.
    pub mode: u32,
    /// Its owner and group.
    pub owner: (u32, u32),
    /// Its hard links.
    pub links: u64,
    /// What is in it, or where it leads to.
    pub content: Vec<u8>,
}

impl Dir {
    /// A new one, which everybody may search and write.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Dir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        chmod(dir.path(), 0o777);
        Dir { dir }
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A name in it.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// All that is in it, and below.
    #[must_use]
    pub fn files(&self) -> BTreeMap<PathBuf, File> {
        files(self.path())
    }

    /// The names in it.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        names(self.path())
    }
}

impl AsRef<Path> for Dir {
    fn as_ref(&self) -> &Path {
        self.path()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // So that an ordinary user can remove what a test had closed.
        let _ = fs::set_permissions(self.path(), fs::Permissions::from_mode(0o700));
    }
}

/// The names in a directory, sorted.
#[must_use]
pub fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// All that is in a directory, and below.
#[must_use]
pub fn files(dir: &Path) -> BTreeMap<PathBuf, File> {
    let mut all = BTreeMap::new();
    for name in names(dir) {
        let path = dir.join(name);
        all.insert(path.clone(), file(&path));
        if path.symlink_metadata().is_ok_and(|data| data.is_dir()) {
            all.extend(files(&path));
        }
    }
    all
}

/// What is at a name now; the name's last component is not followed.
#[must_use]
pub fn file(path: &Path) -> File {
    let data = path.symlink_metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let content = if data.is_file() {
        // Not readable: then its content is no bystander's to count on.
        fs::read(path).unwrap_or_default()
    } else if data.is_symlink() {
        fs::read_link(path).expect("a link").into_os_string().into_encoded_bytes()
    } else {
        Vec::new()
    };
    File { inode: data.ino(), mode: data.mode(), owner: (data.uid(), data.gid()), links: data.nlink(), content }
}

/// The inode number at a name.
#[must_use]
pub fn inode(path: &Path) -> u64 {
    file(path).inode
}

/// The permission bits at a name, with the sticky bit.
#[must_use]
pub fn mode(path: &Path) -> u32 {
    file(path).mode & 0o7777
}

/// Is there something at the name, be it a link that leads nowhere?
#[must_use]
pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// What git does to take the lock of `path`.
///
/// # Errors
///
/// `EEXIST`: it is taken.
pub fn lock_as_git(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o666).open(beside(path, ".lock"))
}

/// Sets the permission bits.
pub fn chmod(path: &Path, mode: u32) {
    let done = fs::set_permissions(path, fs::Permissions::from_mode(mode));
    done.unwrap_or_else(|error| panic!("chmod {mode:o} {}: {error}", path.display()));
}

/// A file with some content and just these permission bits, whatever the umask.
pub fn put_file(path: &Path, content: &[u8], mode: u32) {
    fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    chmod(path, mode);
}

/// `<path><suffix>`: the name of a lock.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
