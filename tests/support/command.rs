//! Runs the real binary in a directory of its own, without the environment of whoever runs the tests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// A working directory for the binary.
pub struct Sandbox {
    dir: TempDir,
}

/// How a run of the binary ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Sandbox {
    /// An empty directory, but for an empty `config.toml` that hides the one of the system.
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory") }.with("config.toml", "")
    }

    /// The same with one more file.
    pub fn with(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(name), text).expect("written");
        self
    }

    /// The path of a file in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The binary with these arguments, ready to run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.dir.path()).env_clear().stdin(Stdio::null());
        command
    }

    /// Runs the binary with these arguments and nothing in the environment.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::from(self.command(arguments).output().expect("the binary runs"))
    }

    /// As [`run`](Self::run), with one variable.
    pub fn run_with(&self, name: &str, value: &str, arguments: &[&str]) -> Ended {
        Ended::from(self.command(arguments).env(name, value).output().expect("the binary runs"))
    }
}

/// The binary under test.
pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_hobnob"))
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

impl Ended {
    /// The standard output of a run that must have succeeded, and said nothing on standard error.
    #[track_caller]
    pub fn succeeded(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""));
        self.stdout
    }

    /// The one line on standard error, without the program's name, of a run that must have failed with this code.
    #[track_caller]
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "");
        let line = self.stderr.strip_prefix("hobnob: ").and_then(|line| line.strip_suffix('\n'));
        let line = line.unwrap_or_else(|| panic!("a line of hobnob: {self:?}"));
        assert!(!line.contains('\n'), "one line: {line}");
        line.to_owned()
    }
}
