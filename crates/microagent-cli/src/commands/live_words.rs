//! The part of a completion script that asks this command for words which only this host knows: names of
//! workspaces and images. It stands behind what clap generates and goes first where a name belongs.

use clap::Command;
use clap_complete::Shell;

/// Commands whose first word is a name, though their definition says only: words.
const NAME_AMONG_WORDS: [&str; 1] = ["exec"];
/// Commands whose name is a new one.
const NEW_NAME: [&str; 1] = ["create"];
/// Commands of `image` that take stored images.
const OF_IMAGES: &str = "delete rm inspect tag pull";

const BASH: &str = r#"
_microagent_live() {
    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"
    local verb="" second="" kind="" word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$word" in
            -*) ;;
            *) if [[ -z $verb ]]; then verb="$word"; elif [[ -z $second ]]; then second="$word"; fi ;;
        esac
    done
    if [[ $prev == --image ]]; then
        kind=images
    elif [[ $prev == --backend ]]; then
        kind=backends
    elif [[ $cur != -* && " VERBS " == *" $verb "* ]]; then
        kind=workspaces
    elif [[ $cur != -* && " FIRST " == *" $verb "* && -z $second ]]; then
        kind=workspaces
    elif [[ $cur != -* && $verb == run && -z $second ]]; then
        kind=images
    elif [[ $cur != -* && $verb == image && " OF_IMAGES " == *" $second "* ]]; then
        kind=images
    fi
    if [[ -n $kind ]]; then
        COMPREPLY=( $(compgen -W "$("${COMP_WORDS[0]}" __complete "$kind" 2>/dev/null)" -- "$cur") )
        if declare -F __ltrim_colon_completions >/dev/null; then
            __ltrim_colon_completions "$cur"
        fi
        [[ ${#COMPREPLY[@]} -gt 0 || $kind == workspaces ]] && return
    fi
    _microagent "$@"
}
complete -F _microagent_live -o bashdefault -o default microagent
"#;

const ZSH: &str = r#"
_microagent_live() {
    local kind="" verb="" second="" word
    for word in ${words[2,CURRENT-1]}; do
        case $word in
            -*) ;;
            *) if [[ -z $verb ]]; then verb=$word; elif [[ -z $second ]]; then second=$word; fi ;;
        esac
    done
    if [[ ${words[CURRENT-1]} == --image ]]; then
        kind=images
    elif [[ ${words[CURRENT]} != -* && " VERBS " == *" $verb "* ]]; then
        kind=workspaces
    elif [[ ${words[CURRENT]} != -* && " FIRST " == *" $verb "* && -z $second ]]; then
        kind=workspaces
    elif [[ ${words[CURRENT]} != -* && $verb == run && -z $second ]]; then
        kind=images
    elif [[ ${words[CURRENT]} != -* && $verb == image && " OF_IMAGES " == *" $second "* ]]; then
        kind=images
    fi
    if [[ -n $kind ]]; then
        local -a found
        found=(${(f)"$(${words[1]} __complete $kind 2>/dev/null)"})
        (( ${#found} )) && compadd -a found && return
    fi
    _microagent "$@"
}
compdef _microagent_live microagent
"#;

const FISH: &str = r#"
complete -c microagent -n "__fish_seen_subcommand_from VERBS FIRST" -f -a "(microagent __complete workspaces 2>/dev/null)"
complete -c microagent -n "__fish_seen_subcommand_from run" -a "(microagent __complete images 2>/dev/null)"
complete -c microagent -n "__fish_seen_subcommand_from image; and __fish_seen_subcommand_from OF_IMAGES" -f -a "(microagent __complete images 2>/dev/null)"
complete -c microagent -l image -x -a "(microagent __complete images 2>/dev/null)"
"#;

/// What goes behind a generated script; nothing for shells that have no such way.
pub(super) fn behind(shell: Shell, definition: &Command) -> String {
    let script = match shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
        _ => return String::new(),
    };
    script
        .replace("OF_IMAGES", OF_IMAGES)
        .replace("VERBS", &of_names(definition).join(" "))
        .replace("FIRST", &NAME_AMONG_WORDS.join(" "))
}

/// Every word that stands before names of workspaces.
fn of_names(definition: &Command) -> Vec<String> {
    definition
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && !NEW_NAME.contains(&command.get_name()))
        .filter(|command| {
            let mut words = command.get_positionals().map(|word| word.get_id().as_str());
            words.any(|id| matches!(id, "name" | "names"))
        })
        .flat_map(Command::get_name_and_visible_aliases)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::of_names;
    use crate::args::definition;

    #[test]
    fn every_command_on_workspaces_completes_their_names() {
        let mut root = definition();
        root.build();
        let verbs = of_names(&root);
        for verb in [
            "start",
            "halt",
            "stop",
            "kill",
            "pause",
            "resume",
            "quarantine",
            "delete",
            "rm",
            "wait",
            "connect",
            "status",
            "inspect",
            "network",
            "logs",
            "events",
        ] {
            assert!(verbs.iter().any(|known| known == verb), "{verb}: {verbs:?}");
        }
        for other in ["create", "run", "image", "list", "doctor"] {
            assert!(!verbs.iter().any(|known| known == other), "{other}");
        }
    }
}
