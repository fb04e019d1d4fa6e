//! JSON documents: keys in camelCase, every documented field present.
//!
//! Values are put together by hand and not derived: a domain type that gains a field must not change
//! what scripts read. The fault is the exception, its form is a message already.

use microagent_wire::fault::{Fault, FaultKind};
use serde_json::{Value, json};

use crate::render::escape::escaped;

/// How a document is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// On one line, for programs.
    OneLine,
    /// Indented, for a terminal.
    Indented,
}

/// The document as text with its final line break.
pub(crate) fn document(value: &Value, layout: Layout) -> String {
    let mut text = match layout {
        Layout::OneLine => value.to_string(),
        Layout::Indented => format!("{value:#}"),
    };
    text.push('\n');
    text
}

/// The error object of `cli.md` 1.4: exactly its five fields.
pub(crate) fn error(fault: &Fault) -> Value {
    json!({
        "kind": kind_word(fault.kind),
        "message": escaped(&fault.message),
        "hint": fault.hint.as_deref().map(escaped),
        "retryable": fault.retryable,
        "cause": fault.cause.iter().map(|cause| escaped(cause)).collect::<Vec<_>>(),
    })
}

/// The one document of a failed command.
pub(crate) fn error_document(fault: &Fault) -> Value {
    json!({ "error": error(fault) })
}

fn kind_word(kind: FaultKind) -> Value {
    serde_json::to_value(kind).expect("a kind is a word")
}

#[cfg(test)]
mod tests {
    use super::{Layout, document, error_document};
    use microagent_wire::fault::{Fault, FaultKind};

    #[test]
    fn an_error_document_has_all_five_fields_and_no_others() {
        let fault = Fault::new(FaultKind::NotFound, "there is no workspace `wbe`");
        assert_eq!(
            document(&error_document(&fault), Layout::OneLine),
            "{\"error\":{\"cause\":[],\"hint\":null,\"kind\":\"not_found\",\
             \"message\":\"there is no workspace `wbe`\",\"retryable\":false}}\n"
        );
    }

    #[test]
    fn a_message_holds_no_control_characters() {
        let fault = Fault::new(FaultKind::Guest, "a\u{1b}[2Jb").with_cause("line\nbreak");
        let text = document(&error_document(&fault), Layout::Indented);
        assert!(text.contains("a\\\\u{1b}[2Jb") && text.contains("line\\\\nbreak"));
    }
}
