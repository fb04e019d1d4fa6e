//! `/etc/resolv.conf`, `/etc/hosts` and `/etc/hostname`: laid over the image, never written into it.
//!
//! The files live under `/run/microagent`, in memory, and are bound over the image's. A target that is
//! missing is made as an empty file, the only thing that guest init itself writes to an image.
#![expect(
    clippy::disallowed_methods,
    reason = "the guest's files have no other door"
)]

use microagent_wire::guest::boot_spec::GuestNetwork;
use rustix::mount::mount_bind;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const FOLDER: &str = "/run/microagent";

/// Name of a file in `/etc` and what it says.
fn contents(hostname: &str, network: Option<&GuestNetwork>) -> Vec<(&'static str, String)> {
    let address = network.and_then(|network| network.address);
    let own = address.map_or_else(|| "127.0.1.1".to_owned(), |address| address.to_string());
    let hosts = [
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        &own,
        "\t",
        hostname,
        "\n",
    ]
    .concat();
    let mut files = vec![("hosts", hosts), ("hostname", [hostname, "\n"].concat())];
    if let Some(network) = network.filter(|network| !network.dns.is_empty()) {
        files.push(("resolv.conf", resolv_conf(network)));
    }
    files
}

fn resolv_conf(network: &GuestNetwork) -> String {
    let mut text = String::new();
    if !network.search.is_empty() {
        text.push_str("search ");
        text.push_str(&network.search.join(" "));
        text.push('\n');
    }
    for server in &network.dns {
        text.push_str("nameserver ");
        text.push_str(&server.to_string());
        text.push('\n');
    }
    text
}

/// Lays the files over the image's; gives a warning for each that could not be.
pub(super) fn lay_over(hostname: &str, network: Option<&GuestNetwork>) -> Vec<String> {
    let _ = fs::create_dir_all(FOLDER);
    let lay = |(name, text): (&str, String)| {
        let source = Path::new(FOLDER).join(name);
        let target = Path::new("/etc").join(name);
        let result = fs::write(&source, text).and_then(|()| bind(&source, &target));
        result
            .err()
            .map(|error| format!("`{}` is the image's own: {error}", target.display()))
    };
    contents(hostname, network)
        .into_iter()
        .filter_map(lay)
        .collect()
}

fn bind(source: &Path, target: &Path) -> io::Result<()> {
    match mount_bind(source, target) {
        Err(rustix::io::Errno::NOENT) => {
            make_empty(target)?;
            Ok(mount_bind(source, target)?)
        }
        result => Ok(result?),
    }
}

/// Makes the file, or what a dangling link points at: `/etc/resolv.conf` often points into `/run`.
fn make_empty(target: &Path) -> io::Result<()> {
    let file = match fs::read_link(target) {
        Ok(link) => target.parent().unwrap_or(Path::new("/")).join(link),
        Err(_) => PathBuf::from(target),
    };
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::contents;
    use microagent_wire::guest::boot_spec::GuestNetwork;

    #[test]
    fn a_guest_knows_itself_and_its_name_servers() {
        let network = GuestNetwork {
            address: Some([10, 0, 2, 15].into()),
            dns: vec!["10.0.2.3".parse().unwrap(), "fd00::3".parse().unwrap()],
            search: vec!["a.example".into(), "b.example".into()],
            ..GuestNetwork::default()
        };
        let files = contents("box", Some(&network));
        let text = |name: &str| {
            files
                .iter()
                .find(|(file, _)| *file == name)
                .unwrap()
                .1
                .as_str()
        };
        assert_eq!(text("hostname"), "box\n");
        assert!(text("hosts").ends_with("\n10.0.2.15\tbox\n"));
        assert_eq!(
            text("resolv.conf"),
            "search a.example b.example\nnameserver 10.0.2.3\nnameserver fd00::3\n"
        );
    }

    #[test]
    fn without_a_network_the_image_keeps_its_resolver() {
        let files = contents("box", None);
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["hosts", "hostname"]);
        assert!(files[0].1.ends_with("127.0.1.1\tbox\n"));
    }
}
