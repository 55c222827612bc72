//! What the old clients read: compact JSON, or XML where it was asked for.

use std::borrow::Cow;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::hub::store::json;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    Json,
    Xml,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Null,
    Number(i64),
    Text(String),
    /// JSON as it was posted. In XML it is a text.
    Posted(String),
    /// In the order given. In XML each is an element of its name.
    Object(Vec<(Cow<'static, str>, Node)>),
    /// In XML each is an element of the name given.
    List(&'static str, Vec<Node>),
}

impl Node {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Number(n) => out.push_str(&n.to_string()),
            Self::Text(text) => out.push_str(&json(text)),
            Self::Posted(text) => out.push_str(text),
            Self::Object(members) => {
                out.push('{');
                for (n, (name, value)) in members.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    out.push_str(&json(name));
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
            Self::List(_, items) => {
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
        }
    }

    fn write_xml(&self, name: &str, out: &mut String) {
        out.push_str(&format!("<{name}>"));
        match self {
            Self::Null => {}
            Self::Number(n) => out.push_str(&n.to_string()),
            Self::Text(text) | Self::Posted(text) => escape(text, out),
            Self::Object(members) => {
                for (name, value) in members {
                    value.write_xml(&element(name), out);
                }
            }
            Self::List(item, items) => {
                for value in items {
                    value.write_xml(item, out);
                }
            }
        }
        out.push_str(&format!("</{name}>"));
    }
}

/// An answer, and the name that its root has in XML.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    root: &'static str,
    node: Node,
}

impl Answer {
    /// `root` is the outermost element's name in XML.
    pub(super) fn of(root: &'static str, node: Node) -> Self {
        Self { root, node }
    }

    /// `{"status":"ok","data":…}`
    pub(super) fn done(data: Node) -> Self {
        let members = vec![("status".into(), Node::text("ok")), ("data".into(), data)];
        Self { root: "result", node: Node::Object(members) }
    }

    pub(super) fn write(&self, output: Output) -> Response {
        respond(StatusCode::OK, output, self.root, &self.node)
    }
}

/// An error that the old clients can read. Some of them take no answer of 200 bytes or more: the
/// words are short.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Refusal {
    status: StatusCode,
    node: Node,
    /// More than the old service said: goes into a header, because clients compare bodies.
    reason: Option<&'static str>,
}

/// Where [`Refusal`] says more.
const REASON: HeaderName = HeaderName::from_static("talaia-reason");
/// Bytes of words in a refusal.
const WORDS: usize = 160;

impl Refusal {
    fn new(status: StatusCode, members: Vec<(&'static str, Node)>) -> Self {
        let members = members.into_iter().map(|(name, node)| (name.into(), node)).collect();
        Self { status, node: Node::Object(members), reason: None }
    }

    /// `{"status":words}`
    pub(super) fn status(status: StatusCode, words: impl Into<String>) -> Self {
        let mut words = words.into();
        words.truncate(words.floor_char_boundary(WORDS));
        Self::new(status, vec![("status", Node::Text(words))])
    }

    /// What is wrong with what was sent: `{"status":words}` with 400.
    pub(super) fn bad(words: impl Into<String>) -> Self {
        Self::status(StatusCode::BAD_REQUEST, words)
    }

    /// What the hub cannot do now: `{"error":words}`.
    pub(super) fn failed(status: StatusCode, words: &str) -> Self {
        Self::new(status, vec![("error", Node::text(words))])
    }

    /// Who calls is not known. There is no challenge that a client could answer, so it is not 401.
    pub(super) fn stranger(reason: &'static str) -> Self {
        let words = Node::text("Authentication failure");
        let refusal = Self::new(StatusCode::FORBIDDEN, vec![("error", words)]);
        Self { reason: Some(reason), ..refusal }
    }

    /// A token that is none any more, which clients renew: `errorCode` 4.
    pub(super) fn expired() -> Self {
        let words =
            "Authentication token is wrong or has expired; ask for a new one with authToken";
        Self::new(
            StatusCode::FORBIDDEN,
            vec![("error", Node::text(words)), ("errorCode", Node::Number(4))],
        )
    }

    /// One client compares the word, others look for "exists".
    pub(super) fn exists() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            vec![
                ("status", Node::text("monitorNameExists")),
                ("error", Node::text("Monitor with that name already exists")),
            ],
        )
    }

    /// Why nobody was let in, where that is so.
    pub(super) fn reason(&self) -> Option<&'static str> {
        self.reason
    }

    pub(super) fn write(&self, output: Output) -> Response {
        // In XML the root says that it is an error, and holds the words.
        let words = match &self.node {
            Node::Object(members) if output == Output::Xml => members.first().map(|(_, node)| node),
            _ => None,
        };
        let mut response = respond(self.status, output, "error", words.unwrap_or(&self.node));
        if let Some(reason) = self.reason {
            response.headers_mut().insert(REASON, HeaderValue::from_static(reason));
        }
        response
    }
}

fn respond(status: StatusCode, output: Output, root: &str, node: &Node) -> Response {
    let mut body = String::new();
    let kind = match output {
        Output::Json => {
            node.write_json(&mut body);
            "application/json"
        }
        Output::Xml => {
            body.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
            node.write_xml(root, &mut body);
            "application/xml"
        }
    };
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

/// A name that an element may have.
fn element(name: &str) -> Cow<'_, str> {
    if crate::model::is_name(name) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(crate::model::nearest_name(name))
}

/// Escapes a text. What XML cannot hold at all is left out.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A reader would make a line feed of it.
            '\r' => out.push_str("&#13;"),
            '\t' | '\n' => out.push(c),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(node: &Node, output: Output) -> String {
        let mut out = String::new();
        match output {
            Output::Json => node.write_json(&mut out),
            Output::Xml => node.write_xml("root", &mut out),
        }
        out
    }

    #[test]
    fn json_is_compact_and_in_order() {
        let node = Node::Object(vec![
            ("status".into(), Node::text("o\"k")),
            ("data".into(), Node::Null),
            ("items".into(), Node::List("item", vec![Node::Number(1), Node::text("2")])),
            ("posted".into(), Node::Posted("[{\"a\":1.50}]".to_owned())),
        ]);
        let wanted = r#"{"status":"o\"k","data":null,"items":[1,"2"],"posted":[{"a":1.50}]}"#;
        assert_eq!(written(&node, Output::Json), wanted);
    }

    #[test]
    fn xml_is_well_formed_whatever_it_holds() {
        let node = Node::Object(vec![
            ("name".into(), Node::text("a<b>&\u{1}\r")),
            ("9 lives".into(), Node::List("item", vec![Node::Number(1), Node::Null])),
        ]);
        let wanted = "<root><name>a&lt;b&gt;&amp;&#13;</name><_9_lives><item>1</item><item></item></_9_lives></root>";
        assert_eq!(written(&node, Output::Xml), wanted);
    }
}
