//! Help as people read it: commands in groups, the global flags last.
//!
//! clap lists all commands in one column. Here each has a group, and a command without one is a
//! failing test, so none can be forgotten.

use std::fmt::Write as _;

use clap::Command;

/// The groups of `cli.md` 1.1 and the commands in them. A group without a command is not shown.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Run", &["run", "create"]),
    (
        "Lifecycle",
        &[
            "start",
            "halt",
            "stop",
            "kill",
            "pause",
            "resume",
            "quarantine",
            "delete",
            "wait",
        ],
    ),
    ("Inside", &["exec", "connect", "cp"]),
    (
        "Look",
        &["status", "list", "ps", "top", "logs", "events", "network"],
    ),
    (
        "Images and kernel",
        &["image", "rootfs", "kernel", "profiles"],
    ),
    (
        "Host",
        &[
            "doctor",
            "host",
            "supervisor",
            "version",
            "completions",
            "man",
        ],
    ),
];

/// The root command with its commands listed in groups.
pub(super) fn grouped(root: Command) -> Command {
    let mut list = String::new();
    for (title, names) in GROUPS {
        let commands: Vec<&Command> = names
            .iter()
            .filter_map(|name| root.get_subcommands().find(|c| c.get_name() == *name))
            .collect();
        if commands.is_empty() {
            continue;
        }
        writeln!(list, "{title}:").expect("a string takes everything");
        for command in commands {
            let about = command.get_about().map(ToString::to_string);
            writeln!(
                list,
                "  {:<12} {}",
                command.get_name(),
                about.unwrap_or_default()
            )
            .expect("a string takes everything");
        }
        list.push('\n');
    }
    let template = format!(
        "{{about}}\n\n{{usage-heading}} microagent [FLAGS] COMMAND [ARGS]\n\n{list}Global flags:\n{{options}}{{after-help}}"
    );
    root.help_template(template).after_help(
        "Help for one command: microagent COMMAND --help\n\
         \n\
         Examples:\n  \
         microagent run oci:./image uname -a\n  \
         microagent create web --image oci:./image && microagent start web\n  \
         microagent doctor",
    )
}

/// The short help: what is printed when nothing was typed.
pub(super) fn short(root: &Command) -> String {
    root.clone().render_help().to_string()
}

#[cfg(test)]
mod tests {
    use super::GROUPS;
    use crate::args::definition;
    use clap::Command;

    #[test]
    fn every_visible_command_stands_in_one_group() {
        let grouped: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        for command in definition().get_subcommands().filter(|c| !c.is_hide_set()) {
            let count = grouped
                .iter()
                .filter(|name| **name == command.get_name())
                .count();
            assert_eq!(count, 1, "{}", command.get_name());
        }
    }

    #[test]
    fn every_page_of_help_fits_a_terminal_of_80_columns() {
        fn check(command: &mut Command) {
            let name = command.get_name().to_owned();
            let mut narrow = command.clone().term_width(80);
            let pages = [
                narrow.render_help().to_string(),
                narrow.render_long_help().to_string(),
            ];
            for line in pages.iter().flat_map(|page| page.lines()) {
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
            command
                .get_subcommands_mut()
                .filter(|command| !command.is_hide_set())
                .for_each(check);
        }
        let mut root = definition();
        root.build();
        check(&mut root);
    }

    #[test]
    fn every_visible_command_ends_its_help_with_two_to_four_examples() {
        for command in definition().get_subcommands().filter(|c| !c.is_hide_set()) {
            let name = command.get_name();
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let examples = help
                .lines()
                .filter(|line| line.contains("microagent "))
                .count();
            assert!(help.starts_with("Examples:\n"), "{name}: {help}");
            assert!((2..=4).contains(&examples), "{name}: {examples}");
        }
    }
}
