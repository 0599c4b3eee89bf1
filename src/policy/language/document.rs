//! A document as written: JSON in, statements with positions out, not yet interpreted.

use crate::policy::Limits;
use crate::policy::language::diagnostic::{Code, Findings, Span};
use crate::policy::language::json::{Field, Node, Text};
use crate::policy::language::{json, suggest};

/// A statement as written.
#[derive(Debug)]
pub(in crate::policy) struct Statement {
    /// From brace to brace.
    pub(in crate::policy) span: Span,
    pub(in crate::policy) sid: Option<Text>,
    pub(in crate::policy) effect: Effect,
    /// `Action` or `NotAction`; `None` if it cannot be read.
    pub(in crate::policy) action: Option<Choice>,
    /// `Resource` or `NotResource`.
    pub(in crate::policy) resource: Option<Choice>,
    pub(in crate::policy) conditions: Vec<Condition>,
    pub(in crate::policy) unknown: Vec<Text>,
    /// Some of it could not be read. The rest is checked nevertheless.
    pub(in crate::policy) faulty: bool,
}

/// The effect of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Effect {
    Allow,
    Deny,
}

/// A list under a name or under its negation (`NotAction`, `NotResource`).
#[derive(Debug)]
pub(in crate::policy) struct Choice {
    pub(in crate::policy) negated: bool,
    pub(in crate::policy) name: Span,
    pub(in crate::policy) values: Vec<Text>,
}

/// One key under one operator.
#[derive(Debug)]
pub(in crate::policy) struct Condition {
    pub(in crate::policy) operator: Text,
    pub(in crate::policy) key: Text,
    pub(in crate::policy) values: Vec<Text>,
}

/// Reads the statements of one document. What cannot be read is reported and left out.
pub(in crate::policy) fn read(
    bytes: &[u8],
    limits: &Limits,
    findings: &mut Findings<'_>,
) -> Vec<Statement> {
    let root = json::parse(bytes, limits, findings);
    root.and_then(|it| Reader { limits, findings }.document(it)).unwrap_or_default()
}

struct Reader<'a, 'f> {
    limits: &'a Limits,
    findings: &'a mut Findings<'f>,
}

impl Reader<'_, '_> {
    fn document(&mut self, root: Node) -> Option<Vec<Statement>> {
        let span = root.span;
        let fields = self.object(root, "a document", "")?;
        let mut statements = None;
        let mut version = None;
        for field in fields {
            match field.name.value.as_str() {
                "Version" => version = Some(field),
                "Statement" => statements = Some(field),
                _ => unknown_field(self.findings, &field.name, &["Statement", "Version"]),
            }
        }
        match version {
            Some(it) => self.version(it),
            None => self.findings.hint(
                Code::MissingField,
                span.head(),
                "`Version` is missing",
                r#"add `"Version": "5.0"`"#,
            ),
        }
        let Some(field) = statements else {
            self.findings.add(Code::MissingField, span.head(), "`Statement` is missing");
            return None;
        };
        let hint = "write a list of statements: `[{…}]`";
        let list = self.list(field.value, "`Statement`", hint)?;
        if let Some(beyond) = list.get(self.limits.statements) {
            let message = format!("a document has at most {} statements", self.limits.statements);
            self.findings.add(Code::TooManyStatements, beyond.span.head(), message);
            return None;
        }
        Some(list.into_iter().filter_map(|it| self.statement(it)).collect())
    }

    fn version(&mut self, field: Field) {
        let Some(text) = self.text(field.value, "`Version`") else {
            return;
        };
        match text.value.as_str() {
            "5.0" => (),
            "1.0" | "1.1" => self.findings.hint(
                Code::Version11,
                text.span,
                format!("version {} of the policy language is not supported", text.value),
                "rewrite it as 5.0: operators StringLike → StringMatch, actions such as \
                 `modelarts:trainJob:delete`, resources of five parts \
                 `modelarts:<region>:<account>:trainJob:<id>`; then set `\"Version\": \"5.0\"`",
            ),
            it => self.findings.hint(
                Code::Version,
                text.span,
                format!("there is no version `{it}` of the policy language"),
                r#"write `"Version": "5.0"`"#,
            ),
        }
    }

    fn statement(&mut self, node: Node) -> Option<Statement> {
        let before = self.findings.found.len();
        let span = node.span;
        let fields = self.object(node, "a statement", "")?;
        let (mut sid, mut effect, mut actions, mut resources) =
            (None, None, Vec::new(), Vec::new());
        let (mut conditions, mut unknown) = (Vec::new(), Vec::new());
        for Field { name, value } in fields {
            match name.value.as_str() {
                "Sid" => sid = self.sid(value),
                "Effect" => effect = Some(self.effect(value)),
                "Action" | "NotAction" => actions.push((name.span, self.choice(&name, value))),
                "Resource" | "NotResource" => {
                    resources.push((name.span, self.choice(&name, value)));
                }
                "Condition" => conditions = self.conditions(value),
                _ => unknown.push(name),
            }
        }
        if effect.is_none() {
            let hint = r#"add `"Effect": "Allow"` or `"Effect": "Deny"`"#;
            self.findings.hint(Code::MissingField, span.head(), "`Effect` is missing", hint);
        }
        if actions.len() != 1 {
            self.findings.hint(
                Code::ActionAndNotAction,
                actions.get(1).map_or(span.head(), |(name, _)| *name),
                match actions.is_empty() {
                    true => "the statement has neither `Action` nor `NotAction`",
                    false => "the statement has both `Action` and `NotAction`",
                },
                r#"for deletes write `"Action": ["modelarts:trainJob:delete"]`"#,
            );
        }
        if let Some((second, _)) = resources.get(1) {
            self.findings.hint(
                Code::ResourceAndNotResource,
                *second,
                "the statement has both `Resource` and `NotResource`",
                "leave one of them out",
            );
        }
        Some(Statement {
            span,
            sid,
            effect: effect.flatten().unwrap_or(Effect::Deny),
            action: actions.into_iter().next().and_then(|(_, it)| it),
            resource: resources.into_iter().next().and_then(|(_, it)| it),
            conditions,
            unknown,
            faulty: self.findings.found.len() != before,
        })
    }

    fn sid(&mut self, node: Node) -> Option<Text> {
        let text = self.text(node, "`Sid`")?;
        if text.value.is_empty() {
            self.findings.add(Code::Empty, text.span, "`Sid` is empty");
            return None;
        }
        Some(text)
    }

    fn effect(&mut self, node: Node) -> Option<Effect> {
        let text = self.text(node, "`Effect`")?;
        match text.value.as_str() {
            "Allow" => Some(Effect::Allow),
            "Deny" => Some(Effect::Deny),
            it => {
                let hint = "write `Allow` or `Deny`, with a capital letter";
                let message = format!("`{it}` is not an effect");
                self.findings.hint(Code::Effect, text.span, message, hint);
                it.eq_ignore_ascii_case("allow").then_some(Effect::Allow)
            }
        }
    }

    fn choice(&mut self, name: &Text, node: Node) -> Option<Choice> {
        let what = format!("`{}`", name.value);
        let hint = format!("write a list: `\"{}\": [\"…\"]`", name.value);
        let values = self.list(node, &what, &hint)?;
        let values = self.texts(values, &what)?;
        Some(Choice { negated: name.value.starts_with("Not"), name: name.span, values })
    }

    fn conditions(&mut self, node: Node) -> Vec<Condition> {
        let hint = r#"leave it out, or write `{"<operator>": {"<key>": ["<value>"]}}`"#;
        let mut res = Vec::new();
        for operator in self.object(node, "`Condition`", hint).unwrap_or_default() {
            let name = operator.name;
            let what = format!("`{}`", name.value);
            let hint = r#"write `{"<key>": ["<value>"]}`"#;
            for key in self.object(operator.value, &what, hint).unwrap_or_default() {
                let values = self.values(&key.name, key.value).unwrap_or_default();
                res.push(Condition { operator: name.clone(), key: key.name, values });
            }
        }
        res
    }

    fn values(&mut self, key: &Text, node: Node) -> Option<Vec<Text>> {
        let what = format!("a value of `{}`", key.value);
        match node.kind {
            json::Kind::List(_) => {
                let list = self.list(node, &format!("the values of `{}`", key.value), "")?;
                self.texts(list, &what)
            }
            _ => Some(vec![self.text(node, &what)?]),
        }
    }

    fn texts(&mut self, nodes: Vec<Node>, what: &str) -> Option<Vec<Text>> {
        if let Some(beyond) = nodes.get(self.limits.values) {
            let message = format!("a list has at most {} values", self.limits.values);
            self.findings.add(Code::TooManyValues, beyond.span, message);
            return None;
        }
        // Every complaint, not just the first.
        let texts: Vec<_> = nodes.into_iter().map(|it| self.text(it, what)).collect();
        texts.into_iter().collect()
    }

    fn text(&mut self, node: Node, what: &str) -> Option<Text> {
        let (span, message) = (node.head(), format!("{what} must be a text"));
        match node.kind {
            json::Kind::Text(value) => Some(Text { value, span }),
            json::Kind::Other(literal) => {
                let hint = match literal.as_str() {
                    "null" => "leave it out, or write a text".to_owned(),
                    _ => format!("write it in quotes: `\"{literal}\"`"),
                };
                self.findings.hint(Code::WrongType, span, message, hint);
                None
            }
            json::Kind::List(_) | json::Kind::Object(_) => {
                self.findings.add(Code::WrongType, span, message);
                None
            }
        }
    }

    fn list(&mut self, node: Node, what: &str, hint: &str) -> Option<Vec<Node>> {
        let (span, head) = (node.span, node.head());
        match node.kind {
            json::Kind::List(list) if list.is_empty() => {
                self.findings.add(Code::Empty, span, format!("{what}: the list is empty"));
                None
            }
            json::Kind::List(list) => Some(list),
            _ => {
                let message = format!("{what} must be a list");
                self.findings.hint(Code::WrongType, head, message, hint);
                None
            }
        }
    }

    /// An empty `hint` means that the object may be empty.
    fn object(&mut self, node: Node, what: &str, hint: &str) -> Option<Vec<Field>> {
        let (span, head) = (node.span, node.head());
        match node.kind {
            json::Kind::Object(fields) if fields.is_empty() && !hint.is_empty() => {
                self.findings.hint(Code::Empty, span, format!("{what} is empty"), hint);
                None
            }
            json::Kind::Object(fields) => Some(fields),
            _ => {
                let message = format!("{what} must be an object");
                self.findings.add(Code::WrongType, head, message);
                None
            }
        }
    }
}

/// Reports a field that is none of `known`.
pub(in crate::policy) fn unknown_field(findings: &mut Findings<'_>, name: &Text, known: &[&str]) {
    let message = format!("there is no field `{}` here", name.value);
    let hint = match name.value.as_str() {
        "Principal" | "NotPrincipal" => {
            "attachments.yaml says for whom a policy of identity/ holds, and a guardrail holds for \
             everybody: ask for `lychgate:groups` or `g:UserId` in a condition"
                .to_owned()
        }
        it => {
            let hint = format!("the fields are {}", known.join(", "));
            suggest::hint(it, known.iter().copied(), hint)
        }
    };
    findings.hint(Code::UnknownField, name.span, message, hint);
}
