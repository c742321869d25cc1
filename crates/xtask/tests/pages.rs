//! Man pages and completions are whole, render without a warning, and load in their shells.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// What `cargo xtask man` writes.
fn written() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let output = Command::new(env!("CARGO_BIN_EXE_xtask")).arg("man").arg(dir.path()).output().expect("xtask runs");
    assert!(output.status.success(), "{}", text(&output));
    dir
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()).collect()
}

fn names(dir: &Path) -> BTreeSet<String> {
    files(dir).iter().map(|file| file.file_name().expect("a name").to_string_lossy().into_owned()).collect()
}

/// Runs a shell's line with the directory of completions as `$1`.
fn shell(program: &str, options: &[&str], line: &str) -> String {
    let dir = written();
    let mut command = Command::new(program);
    command.args(options).arg("-c").arg(line);
    // fish has no name of the script before its arguments.
    if program != "fish" {
        command.arg(program);
    }
    let output = command.arg(dir.path().join("completions")).env("HOME", dir.path()).output().expect("the shell runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{program}: {}", text(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// What is offered is the subcommands, and nothing that is hidden.
fn assert_offers_commands(offered: &str) {
    for command in unix_ss_command::command().get_subcommands() {
        let name = command.get_name();
        assert_eq!(offered.split_whitespace().any(|word| word == name), !command.is_hide_set(), "{name}: {offered}");
    }
}

#[test]
fn the_command_and_each_subcommand_have_a_page_with_every_section() {
    let dir = written();
    let mut expected = BTreeSet::from(["unix-ss.1".to_owned()]);
    let shown = unix_ss_command::command();
    let shown = shown.get_subcommands().filter(|command| !command.is_hide_set());
    expected.extend(shown.map(|command| format!("unix-ss-{}.1", command.get_name())));
    assert_eq!(names(&dir.path().join("man1")), expected);
    for file in files(&dir.path().join("man1")) {
        let page = fs::read_to_string(&file).expect("a page");
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "EXAMPLES", "SEE ALSO"] {
            assert!(page.contains(&format!(".SH \"{section}\"\n")), "{}: no {section}", file.display());
        }
        assert!(page.contains(".SH OPTIONS\n"), "{}: no OPTIONS", file.display());
    }
}

#[test]
fn each_function_of_the_c_library_has_a_page_with_its_prototype() {
    let dir = written();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../unix-ss-capi");
    let header = fs::read_to_string(root.join("include/unix-stream-server.h")).expect("the header");
    let symbols = fs::read_to_string(root.join("symbols.txt")).expect("the symbols");
    let mut expected = BTreeSet::from(["unix-stream-server.3".to_owned()]);
    for symbol in symbols.lines() {
        expected.insert(format!("{symbol}.3"));
        let page = fs::read_to_string(dir.path().join(format!("man3/{symbol}.3"))).expect("a page");
        let (_, prototype) = page.split_once(".SH \"SYNOPSIS\"\n").expect("a synopsis");
        let prototype =
            prototype.split_once(&format!("{symbol}(")).expect("the prototype").1.split_once(';').expect("its end").0;
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words(&header).contains(&words(&format!("{symbol}({prototype};"))), "{symbol}({prototype}");
    }
    assert_eq!(names(&dir.path().join("man3")), expected);
}

#[test]
#[ignore = "needs man and groff"]
fn every_page_renders_without_a_warning() {
    let dir = written();
    let pages = [files(&dir.path().join("man1")), files(&dir.path().join("man3"))].concat();
    assert!(pages.len() > 10, "{pages:?}");
    for page in pages {
        let options = ["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"];
        let man = Command::new("man").args(options).arg(&page).env("LC_ALL", "C.UTF-8").output().expect("man runs");
        let groff =
            Command::new("groff").args(["-man", "-ww", "-Tutf8", "-z"]).arg(&page).output().expect("groff runs");
        for output in [man, groff] {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{}: {said}", page.display());
        }
        // man(1) finds a page by what lexgrog(1) makes of its NAME.
        let found = Command::new("lexgrog").arg(&page).output().expect("lexgrog, which comes with man, runs");
        assert!(found.status.success(), "{}: {}", page.display(), text(&found));
    }
}

#[test]
#[ignore = "needs bash"]
fn bash_completes() {
    let line = "source \"$1/bash/unix-ss\"; how=$(complete -p unix-ss) || exit 9
        how=${how#* -F }; COMP_WORDS=(unix-ss '') COMP_CWORD=1
        ${how%% *} unix-ss '' unix-ss; echo \"${COMPREPLY[*]}\"";
    assert_offers_commands(&shell("bash", &["--noprofile", "--norc"], line));
}

#[test]
#[ignore = "needs zsh"]
fn zsh_completes() {
    let line = "fpath=($1/zsh $fpath); autoload -Uz compinit; compinit -u -D
        [[ $_comps[unix-ss] = _unix-ss ]] || exit 9
        source $1/zsh/_unix-ss; _describe() { print -l -- ${(P)4} }; _unix-ss_commands";
    let offered = shell("zsh", &["-f"], line);
    assert_offers_commands(&offered.replace(':', " :"));
}

#[test]
#[ignore = "needs fish"]
fn fish_completes() {
    let line = "source $argv[1]/fish/unix-ss.fish; or exit 9; complete -C 'unix-ss '";
    assert_offers_commands(&shell("fish", &["--no-config"], line));
}
