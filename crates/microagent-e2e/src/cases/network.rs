//! What a guest reaches, in each mode, by real traffic to hosts of the case's own; the table that is held
//! against it is the one in the documentation.

use crate::framework::case::{Case, Need, case};
use crate::framework::net_hosts::{Host, NetHosts};
use crate::framework::workspace::{Lasting, NAME};
use crate::framework::world::World;
use anyhow::{Context as _, Result, ensure};

pub(crate) const NEEDS: &[Need] = &[
    Need::Tool("ip"),
    Need::Tool("python3"),
    Need::Tool("ss"),
    Need::Tool("passt"),
];

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "network::what_a_guest_reaches_is_what_the_table_says",
            reached,
        )
        .needing(NEEDS),
        case(
            "network::a_nat_guest_fetches_and_resolves_through_a_local_stub",
            fetches,
        )
        .needing(NEEDS),
        case("network::bridged_is_refused_and_nothing_is_made", bridged),
    ]
}

const SCAN: &str = include_str!("../programs/scan.py");
const PAGE: &str = include_str!("../../../../docs/network.md");

/// How each row of the table is tried.
const TRIES: [(&str, &str); 17] = [
    ("the internet, IPv4", "tcp 198.51.100.10 8000"),
    (
        "the internet, IPv6, when the host has it",
        "tcp 2001:db8:2::10 8000",
    ),
    (
        "the name server at 10.0.2.3, UDP port 53",
        "udp 10.0.2.3 53",
    ),
    ("any other port of 10.0.2.3", "udp 10.0.2.3 8001"),
    ("10.0.2.2: the host's 127.0.0.1", "tcp 10.0.2.2 8000"),
    ("fd00:6d61::2: the host's ::1", "tcp fd00:6d61::2 8000"),
    ("the host's own addresses, IPv4", "tcp 203.0.113.2 8000"),
    ("the host's own addresses, IPv6", "tcp 2001:db8:1::2 8000"),
    (
        "127.0.0.1 in frames of the guest's making",
        "made 127.0.0.1 8000",
    ),
    (
        "127.0.0.53 in frames of the guest's making",
        "made 127.0.0.53 8000",
    ),
    (
        "0.0.0.0 in frames of the guest's making",
        "made 0.0.0.0 8000",
    ),
    ("::1 in frames of the guest's making", "made ::1 8000"),
    (
        "::ffff:127.0.0.1 in frames of the guest's making",
        "made ::ffff:127.0.0.1 8000",
    ),
    (
        "the network that the host is attached to, IPv4",
        "tcp 203.0.113.1 8000",
    ),
    (
        "the network that the host is attached to, IPv6",
        "tcp 2001:db8:1::1 8000",
    ),
    ("a private network next door", "tcp 10.77.0.2 8000"),
    (
        "link-local addresses, a cloud's metadata service",
        "tcp 169.254.169.254 8000",
    ),
];

/// The columns of the table, by their flags.
const COLUMNS: [&[&str]; 4] = [
    &[],
    &["--reach", "loopback"],
    &["--reach", "local"],
    &["--network", "isolated"],
];

/// The rows of the table: what, and a word for each column.
fn table() -> Result<Vec<Vec<&'static str>>> {
    let (_, rest) = PAGE.split_once("<!-- scanned -->").context("no table")?;
    let (text, _) = rest.split_once("<!-- /scanned -->").context("no end")?;
    let rows = text.lines().filter(|line| line.starts_with('|')).skip(2);
    Ok(rows
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect())
}

fn reached(world: &World) -> Result<()> {
    let table = table()?;
    let named: Vec<&str> = table.iter().map(|row| row[0]).collect();
    ensure!(named == TRIES.map(|(name, _)| name), "{named:#?}");
    let hosts = NetHosts::make()?;
    // A frame of the guest's own making, to an address that is admitted, shows that it can make some.
    let control = "made 198.51.100.10 8000";
    for (index, flags) in COLUMNS.into_iter().enumerate() {
        let lasting = Lasting::create_on(world, hosts.home_namespace(), flags, &[])?;
        lasting.does(&["start", NAME])?;
        let mut words = vec!["exec", NAME, "--", "python3", "-c", SCAN, control];
        words.extend(TRIES.map(|(_, attempt)| attempt));
        let told = lasting.does(&words)?.stdout_text();
        let expected = TRIES
            .iter()
            .zip(&table)
            .map(|((_, attempt), row)| format!("{attempt} {}", row[index + 1]));
        let is_nat = flags != ["--network", "isolated"];
        let control = format!("{control} {}", if is_nat { "yes" } else { "no" });
        let expected: Vec<String> = [control].into_iter().chain(expected).collect();
        let found: Vec<&str> = told.lines().collect();
        ensure!(found == expected, "{flags:?}: {found:#?}\n{expected:#?}");
        // Beside what a kernel has of its own and what leads nowhere.
        let cards = lasting.shell("ls /sys/class/net | grep -c ^eth || true")?;
        ensure!(cards.trim() == if is_nat { "1" } else { "0" }, "{cards}");
        lasting.does(&["kill", NAME])?;
        lasting.ends_well()?;
        hosts.nothing_left(world)?;
    }
    Ok(())
}

fn fetches(world: &World) -> Result<()> {
    let hosts = NetHosts::make()?;
    let lasting = Lasting::create_on(world, hosts.home_namespace(), &[], &[])?;
    lasting.does(&["start", NAME])?;
    let script = "import socket\n\
        for family in (socket.AF_INET, socket.AF_INET6):\n\
        \x20   print(socket.getaddrinfo('name.test', 80, family, socket.SOCK_STREAM)[0][4][0])\n\
        page = socket.create_connection(('name.test', 8080), 30)\n\
        page.sendall(b'GET / HTTP/1.0\\r\\nHost: name.test\\r\\n\\r\\n')\n\
        print(page.makefile('rb').read().decode().splitlines()[-1])";
    let told = lasting.does(&["exec", NAME, "--", "python3", "-c", script])?;
    let told = told.stdout_text();
    let lines: Vec<&str> = told.lines().collect();
    ensure!(
        lines == ["198.51.100.10", "2001:db8:2::10", "page of world"],
        "{told}"
    );
    let shown = lasting.does(&["network", NAME])?.stdout_text();
    ensure!(
        shown.starts_with(
            "mode       nat through passt; 10.0.2.15/24, fd00:6d61::15, gateway 10.0.2.2"
        ),
        "{shown}"
    );
    // Nothing of the guest is reached from outside: what listens there listens for itself.
    let server = "import socket; socket.create_server(('', 8099)).accept()";
    lasting.shell(&format!("python3 -c \"{server}\" >/dev/null 2>&1 &"))?;
    let knock = "import socket; print(socket.create_connection(('203.0.113.2', 8099), 2))";
    let refused = hosts
        .program(Host::World, &["python3", "-c", knock])
        .run()?
        .stderr_text();
    ensure!(refused.contains("refused"), "{refused}");
    lasting.does(&["halt", NAME])?;
    lasting.ends_well()?;
    hosts.nothing_left(world)
}

fn bridged(world: &World) -> Result<()> {
    let image = world.debian_source()?;
    let refused = world
        .microagent()
        .args([
            "create",
            "bridged",
            "--json",
            "--network",
            "bridged",
            "--image",
            &image,
        ])
        .run()?;
    ensure!(refused.code.is_some_and(|code| code != 0));
    let document = refused.json()?;
    ensure!(document["error"]["kind"] == "unsupported", "{document:#}");
    Ok(())
}
