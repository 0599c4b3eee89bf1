//! Findings about a policy directory, as data.

use std::ops::Range;

/// One finding, at one place of one file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Diagnostic {
    /// The file, as in [`Files`](crate::policy::Files); empty for the directory as a whole.
    pub path: String,
    /// The offending bytes of the file: a token, or the opening brace where something is missing.
    pub span: Span,
    /// The kind of finding.
    pub code: Code,
    /// What is wrong here, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A range of bytes, ordered by its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
}

impl Span {
    pub(in crate::policy) fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The first byte alone.
    pub(in crate::policy) fn head(self) -> Self {
        Self::new(self.start, self.end.min(self.start + 1))
    }
}

impl From<Span> for Range<usize> {
    fn from(it: Span) -> Self {
        it.start..it.end
    }
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The directory is not loaded.
    Error,
    /// Something is wider than it looks.
    Security,
    /// Something does nothing, or not what it seems to.
    Warning,
    /// Something could be written better.
    Suggestion,
}

impl Severity {
    /// The word for people and for `--format json`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Security => "security",
            Self::Warning => "warning",
            Self::Suggestion => "suggestion",
        }
    }
}

impl Diagnostic {
    /// How much it matters, which depends on its code alone.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

/// Where findings about one file go.
#[derive(Debug)]
pub(in crate::policy) struct Findings<'a> {
    pub(in crate::policy) path: &'a str,
    pub(in crate::policy) found: &'a mut Vec<Diagnostic>,
}

impl Findings<'_> {
    pub(in crate::policy) fn add(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.push(code, span, message.into(), None);
    }

    pub(in crate::policy) fn hint(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(code, span, message.into(), Some(hint.into()));
    }

    fn push(&mut self, code: Code, span: Span, message: String, hint: Option<String>) {
        self.found.push(Diagnostic { path: self.path.to_owned(), span, code, message, hint });
    }
}

macro_rules! codes {
    ($($severity:ident { $($code:ident $name:literal $doc:literal)* })*) => {
        /// The kinds of findings. Their names are stable; a name never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[doc = $doc] $code,)*)* }

        impl Code {
            /// Every code, by severity.
            pub const ALL: &[Self] = &[$($(Self::$code,)*)*];

            /// The stable name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $($(Self::$code => $name,)*)* }
            }

            /// How much such a finding matters.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $($(Self::$code => Severity::$severity,)*)* }
            }

            /// What it means, in one line.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $($(Self::$code => $doc,)*)* }
            }
        }
    };
}

codes! {
    Error {
        // The directory.
        NoPolicies "no-policies" "The directory holds no policy document at all."
        TooLarge "too-large" "A file is larger than the limit."
        TooManyDocuments "too-many-documents" "The directory holds more documents than the limit."
        UnknownFile "unknown-file" "A file has no place in a policy directory, or its name cannot name a policy."
        // Syntax.
        ByteOrderMark "byte-order-mark" "A file starts with a byte order mark."
        DuplicateField "duplicate-field" "A JSON object has a field twice, or a condition a key twice in different letter case."
        InvalidJson "invalid-json" "A document is not JSON as RFC 8259 defines it: no comments, no trailing commas."
        InvalidYaml "invalid-yaml" "A YAML file cannot be read, or does not have the documented structure."
        NotUtf8 "not-utf8" "A file is not UTF-8."
        TooDeep "too-deep" "A document is nested more deeply than the limit."
        // Documents and statements.
        ActionAndNotAction "action-and-not-action" "A statement needs exactly one of Action and NotAction."
        DuplicateSid "duplicate-sid" "Two statements of a document have the same Sid."
        Effect "effect" "Effect is neither Allow nor Deny."
        Empty "empty" "A list, an object or a text that needs content has none."
        MalformedAction "malformed-action" "An action is neither `*` nor three parts `service:type:operation`."
        MalformedResource "malformed-resource" "A resource is neither `*` nor five parts `modelarts:<region>:<account>:trainJob:<id>`."
        MisspeltAction "misspelt-action" "An action is nearly, but not quite, one that is judged here, such as `modelarts:trainJob:delete`."
        MissingField "missing-field" "A required field is missing."
        ResourceAndNotResource "resource-and-not-resource" "A statement has both Resource and NotResource."
        TextTooLong "text-too-long" "A text is longer than the limit."
        TooManyStatements "too-many-statements" "A document has more statements than the limit."
        TooManyValues "too-many-values" "A list has more values than the limit."
        UnknownField "unknown-field" "A document or a live statement has a field that the language does not have."
        Version "version" "Version is not `5.0`."
        Version11 "version-1-1" "The document is written in version 1.1 of the language."
        WrongType "wrong-type" "A value has the wrong JSON type."
        // Conditions.
        MalformedValue "malformed-value" "A value cannot be read as the number, date, truth value or address that its operator needs."
        MalformedVariable "malformed-variable" "A variable is not `${key}` or `${key, 'default'}` with a known key."
        NullForm "null-form" "`Null` takes `true` or `false` and neither qualifier nor IfExists."
        OperatorType "operator-type" "The operator does not fit the type of the key."
        UnknowableKey "unknowable-key" "An Allow depends on a key that only Huawei Cloud can answer."
        UnknownKey "unknown-key" "There is no such condition key."
        UnknownOperator "unknown-operator" "There is no such condition operator."
        VariablePlace "variable-place" "A resource has a variable outside its fifth part."
        // Attachments.
        MalformedProject "malformed-project" "A project pattern can match no project ID."
        MalformedTarget "malformed-target" "An attachment's target is none of `user:`, `group:`, `source:` with a name, or `any`."
        UnknownPolicy "unknown-policy" "An attachment names a policy that identity/ does not hold."
        // Budgets.
        BudgetBelowReplicas "budget-below-replicas" "A budget has fewer deletes than there are processes to share it."
        DuplicateBudget "duplicate-budget" "Two budgets have the same name."
        MalformedBudget "malformed-budget" "A budget has an impossible name, scope, number of deletes or time."
        // Suites.
        DuplicateCase "duplicate-case" "Two cases of a suite have the same name."
        ImpossibleCase "impossible-case" "A case states something that no request can have."
        StatedAndUnavailable "stated-and-unavailable" "A case states a fact and says that it is unavailable."
        UnknownBudget "unknown-budget" "A case names a budget that does not exist."
        UnknownStatement "unknown-statement" "A case names a statement that does not exist."
        UnknownWord "unknown-word" "A case has a word that is not one of those its field takes."
    }
    Security {
        AllowForAnyValue "allow-for-any-value" "An Allow with ForAnyValue is satisfied by one of several values."
        AllowNegated "allow-negated" "An Allow with a negated operator allows everything that it does not list, and no `Null` says that the key must be there."
        AllowNegatedIfExists "allow-negated-if-exists" "An Allow with a negated operator and IfExists allows when the key is absent."
        AllowNotAction "allow-not-action" "An Allow with NotAction allows every action that it does not list."
        AllowNotResource "allow-not-resource" "An Allow with NotResource allows every job that it does not list."
        InertCeiling "inert-ceiling" "A guardrail Allow for actions other than deletes still means that only what guardrails allow is possible."
        NoBudgets "no-budgets" "`budgets: none` leaves mass deletion without a brake."
        UnboundAllow "unbound-allow" "An identity Allow is bound to no project: neither by `projects` of its attachment, nor by `lychgate:projectId`, nor by a Resource without wildcards."
        WildcardAllow "wildcard-allow" "An identity Allow without conditions covers every job of every project."
    }
    Warning {
        AbsentKey "absent-key" "A condition asks for a key that is always absent."
        AlwaysTrue "always-true" "A condition always holds."
        BatchAllow "batch-allow" "An Allow of `modelarts:trainJob:batchDelete` alone allows nothing: each job of a batch is judged as `modelarts:trainJob:delete`."
        CapitalInJobId "capital-in-job-id" "A Resource has a capital letter in its job ID, and job IDs have none."
        ConfusableTagKeys "confusable-tag-keys" "Two tag keys look alike but are not the same."
        ImpossibleValue "impossible-value" "A condition compares a key with a value that it never has."
        LiteralWildcard "literal-wildcard" "A `*` or `?` is a plain character here."
        NeverMatches "never-matches" "A statement or a Resource can never match."
        NobodyCan "nobody-can" "Nobody can delete anything under these policies."
        NonAsciiCase "non-ascii-case" "IgnoreCase folds ASCII letters only."
        NotConfigured "not-configured" "A policy names something that the configuration does not have: an identity source, a tag of callers, a way to sign in, a project, region or account that no upstream has, a type of pool."
        NumericSid "numeric-sid" "A Sid is a number and could be mistaken for the number of a statement."
        OneOrAllGroups "one-or-all-groups" "A condition asks about all groups of a caller (or all pools of a job) where usually one is meant, or about one where all are."
        PastDate "past-date" "A condition holds only before a date that has passed."
        PoolWithoutType "pool-without-type" "A case has a pool but no pool type, and no job is like that."
        SeveralValued "several-valued" "A variable names a key that may hold several values, and such a key is never filled in."
        Shadowed "shadowed" "Other statements already say all that this one says, or forbid all that it allows."
        Unattached "unattached" "An identity policy is attached to nobody."
        UnknowableDeny "unknowable-deny" "A Deny names a key that only Huawei Cloud can answer: that condition always matches."
        UnlikelyValue "unlikely-value" "A value is possible but hardly meant: in another unit, in the form of another key, or not what it looks like."
    }
    Suggestion {
        BudgetJobFacts "budget-job-facts" "A budget depends on facts of the job, which are not looked up for a budget."
        Ceiling "ceiling" "A guardrail Allow grants nothing: it is a ceiling for everybody."
        DenyWhenAbsent "deny-when-absent" "A Deny does not deny when the key is absent."
        InertStatements "inert-statements" "Statements about other actions do nothing here."
        NeedlessIfExists "needless-if-exists" "IfExists has no effect on a key that is always there."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|it| it.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
