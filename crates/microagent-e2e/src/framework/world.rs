//! What the cases share: the installed product, one home in which images are imported once, the
//! images, and how patient one must be here.

use anyhow::{Context as _, Result, anyhow, bail};
use microagent_test::cli::Program;
use microagent_test::home::Home;
use microagent_test::image::Tool;
use microagent_test::image::debian::Debian;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::cases::odd_tree::OddImage;
use crate::framework::backend::Backend;

/// The backend under test; `qemu` when it is not set.
const BACKEND_VARIABLE: &str = "MICROAGENT_E2E_BACKEND";
/// How much slower than its accelerator says the host is taken to be; a lab is emulated itself.
const FACTOR_VARIABLE: &str = "MICROAGENT_E2E_FACTOR";
/// The product's own word for the backend to use.
pub(crate) const PRODUCT_BACKEND_VARIABLE: &str = "MICROAGENT_BACKEND";

/// How much slower an emulated guest is taken to be than one on a real processor.
const EMULATION_FACTOR: u32 = 4;
/// A boot, a short command and the end of the VM, on a real processor.
const RUN_LIMIT: Duration = Duration::from_secs(30);
/// `microagent doctor`, which starts no guest.
const DOCTOR_LIMIT: Duration = Duration::from_secs(30);

/// What the cases share.
pub(crate) struct World {
    prefix: PathBuf,
    home: Home,
    backend: Backend,
    emulated: bool,
    alone: bool,
    factor: u32,
    debian: OnceLock<Result<Debian, String>>,
    odd: OnceLock<Result<OddImage, String>>,
}

impl World {
    /// Looks at the installed product and at how it runs VMs here.
    pub(crate) fn new(prefix: PathBuf) -> Result<Self> {
        let backend = match std::env::var(BACKEND_VARIABLE) {
            Ok(name) => Backend::named(&name)?,
            Err(_) => Backend::Qemu,
        };
        let home = Home::new()?;
        let program = prefix.join("bin/microagent");
        if !program.is_file() {
            bail!("there is no `{}`; run: cargo xtask e2e", program.display());
        }
        let of_host: Option<u32> = match std::env::var(FACTOR_VARIABLE) {
            Ok(number) => Some(
                number
                    .parse()
                    .with_context(|| format!("{FACTOR_VARIABLE} is no number"))?,
            ),
            Err(_) => None,
        };
        let facts = Program::at(&program)
            .of(&home)
            .env(PRODUCT_BACKEND_VARIABLE, backend.name())
            .args(["doctor", "--json"])
            .limit(DOCTOR_LIMIT * of_host.unwrap_or(1))
            .run()?
            .json()
            .context("`microagent doctor --json` does not answer")?;
        let emulated = facts["accelerator"] != "kvm";
        let factor = of_host.unwrap_or(1) * if emulated { EMULATION_FACTOR } else { 1 };
        Ok(Self {
            prefix,
            home,
            backend,
            emulated,
            alone: of_host.is_some(),
            factor,
            debian: OnceLock::new(),
            odd: OnceLock::new(),
        })
    }

    /// Where the product is installed.
    pub(crate) fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// The home in which most cases run.
    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// A limit of time as it holds here. Every limit of a case goes through it.
    pub(crate) fn limit(&self, on_a_processor: Duration) -> Duration {
        on_a_processor * self.factor
    }

    /// Whether guests are emulated.
    pub(crate) fn is_emulated(&self) -> bool {
        self.emulated
    }

    /// Whether the host is a lab, in which nobody else lives.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone
    }

    /// The backend under test.
    pub(crate) fn backend(&self) -> Backend {
        self.backend
    }

    /// The command, in the shared home.
    pub(crate) fn microagent(&self) -> Program {
        self.microagent_in(&self.home)
    }

    /// The command, in a home of the case's own.
    pub(crate) fn microagent_in(&self, home: &Home) -> Program {
        self.microagent_at(&self.prefix.join("bin/microagent"), home)
    }

    /// The command of another installation.
    pub(crate) fn microagent_at(&self, program: &Path, home: &Home) -> Program {
        Program::at(program)
            .of(home)
            .env(PRODUCT_BACKEND_VARIABLE, self.backend.name())
            .limit(self.limit(RUN_LIMIT))
    }

    /// The Debian image in all its forms.
    pub(crate) fn debian(&self) -> Result<&Debian> {
        self.debian
            .get_or_init(|| Debian::ensure().map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow!("{error}"))
    }

    /// The Debian image as most cases name it.
    pub(crate) fn debian_source(&self) -> Result<String> {
        Ok(format!("oci:{}", self.debian()?.layout().display()))
    }

    /// A home of a case's own. In a lab, where an import takes as long as two boots, it has the Debian image
    /// already, as one that has been used.
    pub(crate) fn fresh_home(&self) -> Result<Home> {
        let home = Home::new()?;
        if self.alone {
            self.imported()?;
            std::fs::create_dir(home.state_dir())?;
            std::fs::set_permissions(home.state_dir(), Permissions::from_mode(0o700))?;
            for part in ["schema", "images"] {
                Tool::new("cp")
                    .args(["-a", "--reflink=auto"])
                    .arg(self.home.state_dir().join(part))
                    .arg(home.state_dir())
                    .ok()?;
            }
        }
        Ok(home)
    }

    /// Has the shared home import the Debian image, once.
    fn imported(&self) -> Result<()> {
        const SEED: &str = "seed";
        if self.home.state_dir().join("images").is_dir() {
            return Ok(());
        }
        let source = self.debian_source()?;
        let create = ["create", SEED, "--network", "isolated", "--idle", "--image"];
        let create = self.microagent().args(create).arg(source);
        create.run()?.expect_code(0)?;
        let delete = self.microagent().args(["delete", "--yes", SEED]);
        delete.run()?.expect_code(0).map(drop)
    }

    /// The image with the tree of odd files.
    pub(crate) fn odd_image(&self) -> Result<&OddImage> {
        let debian = self.debian()?;
        self.odd
            .get_or_init(|| OddImage::ensure(debian).map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow!("{error}"))
    }

    /// Fails when something is left after all cases.
    pub(crate) fn end(&self) -> Result<()> {
        let left = self.home.leftovers();
        if !left.is_empty() {
            bail!("after the last case:\n{}", left.join("\n"));
        }
        Ok(())
    }
}
