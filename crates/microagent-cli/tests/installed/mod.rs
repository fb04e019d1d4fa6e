//! An installation in a home of its own: the built command, and a test program as its supervisor, whose
//! VM is a fake. Nothing has to be built for it but the command and the test.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use microagent_test::cli::{Finished, Program};
use microagent_test::fake_backend::FakeBackend;
use microagent_test::home::Home;
use microagent_test::image::{Image, ImageConfig, Layer};

/// For processes that end by themselves once they have answered.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at them.
const SETTLE_PAUSE: Duration = Duration::from_millis(20);
const SUPERVISOR: &str = "microagent-qemu-supervisor";

/// A fact and how it is tried.
pub(crate) type Fact = (&'static str, fn());

/// The supervisor when the program is called by that name, else the tests.
pub(crate) fn program(facts: &[Fact]) -> ExitCode {
    let own_name = std::env::current_exe().unwrap();
    if own_name.file_name().is_some_and(|name| name == SUPERVISOR) {
        return microagent_supervisor::run(&FakeBackend, std::env::args().skip(1));
    }
    libtest_mimic::run(&Arguments::from_args(), trials(facts)).exit_code()
}

/// An installation in a home of its own, and an image with a shell for its command.
pub(crate) struct Installed {
    pub(crate) home: Home,
}

impl Installed {
    pub(crate) fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// The same in a folder below `folder`, for a file system of a certain kind.
    pub(crate) fn within(folder: &Path) -> Self {
        let home = Home::within(folder).unwrap();
        let bin = home.path().join("prefix/bin");
        let libexec = home.path().join("prefix/libexec");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(&libexec).unwrap();
        let built = Path::new(env!("CARGO_BIN_EXE_microagent"));
        place(built, &bin.join("microagent"));
        place(&std::env::current_exe().unwrap(), &libexec.join(SUPERVISOR));
        let arch = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "amd64",
        };
        let initramfs = format!("microagent-guestinit-{arch}.cpio");
        std::fs::write(libexec.join(initramfs), b"no guest reads this").unwrap();
        let layer = Layer::new()
            .folder("etc", 0o755)
            .file("etc/name", 0o644, b"x\n");
        let config = ImageConfig {
            command: vec!["/bin/sh".to_owned()],
            env: vec!["PATH=/usr/bin:/bin".to_owned()],
            ..ImageConfig::default()
        };
        let image = Image::new().layer(layer).config(config);
        image.write_layout(&home.work_dir().join("image")).unwrap();
        let installed = Self { home };
        installed.script("");
        installed
    }

    /// What the next guests do: words of the fake backend, in the place of a kernel.
    pub(crate) fn script(&self, words: &str) {
        std::fs::write(self.home.work_dir().join("kernel"), words).unwrap();
    }

    pub(crate) fn microagent(&self, line: &[&str]) -> Program {
        let program = self.home.path().join("prefix/bin/microagent");
        Program::at(program).of(&self.home).args(line)
    }

    pub(crate) fn does(&self, line: &[&str]) -> Finished {
        self.microagent(line).run().unwrap()
    }

    /// `run` in a small workspace from the test's image.
    pub(crate) fn run(&self, flags: &[&str], command: &[&str]) -> Program {
        let mut line = vec!["run", "--profile", "tiny", "--kernel", "kernel"];
        line.extend(flags);
        line.push("oci:image");
        line.extend(command);
        self.microagent(&line)
    }

    /// Creates an idle workspace.
    pub(crate) fn create(&self, name: &str) {
        self.create_with(name, &[]);
    }

    /// The same with further flags.
    pub(crate) fn create_with(&self, name: &str, flags: &[&str]) {
        let mut line = vec![
            "create",
            name,
            "--image",
            "oci:image",
            "--profile",
            "tiny",
            "--kernel",
            "kernel",
            "--idle",
        ];
        line.extend(flags);
        let created = self.does(&line).expect_code(0).unwrap();
        assert_eq!(created.stdout_text(), format!("{name}\n"));
    }

    /// Deletes a workspace, which must succeed.
    pub(crate) fn delete(&self, name: &str) {
        self.does(&["delete", "--yes", name])
            .expect_code(0)
            .unwrap();
    }

    pub(crate) fn names(&self) -> String {
        self.does(&["list", "-q"])
            .expect_code(0)
            .unwrap()
            .stdout_text()
    }

    /// Nothing of this home lives or lies around.
    pub(crate) fn assert_tidy(&self) {
        assert_eq!(self.names(), "");
        // A monitor has answered before it has ended.
        let patience = std::time::Instant::now() + SETTLE_LIMIT;
        let mut left = self.home.leftovers();
        while !left.is_empty() && std::time::Instant::now() < patience {
            std::thread::sleep(SETTLE_PAUSE);
            left = self.home.leftovers();
        }
        assert_eq!(left, Vec::<String>::new());
    }
}

/// A hard link where the file system can, since the programs are large.
fn place(program: &Path, at: &PathBuf) {
    std::fs::hard_link(program, at)
        .or_else(|_| std::fs::copy(program, at).map(|_| ()))
        .unwrap();
}

fn trials(facts: &[Fact]) -> Vec<Trial> {
    let trial = |(name, test): &Fact| {
        let test = *test;
        Trial::test(*name, move || {
            test();
            Ok(())
        })
    };
    facts.iter().map(trial).collect()
}
