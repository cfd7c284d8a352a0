//! What is wrong with a topology file: every mistake with its place and its remedy.

use core::cmp::Reverse;
use core::fmt;
use core::ops::Range;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

/// How many mistakes are listed; the rest is counted.
pub const MAX_LISTED: usize = 100;

/// The kinds of mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MistakeKind {
    /// No such file, no permission, a directory.
    Unreadable,
    /// Not UTF-8, or no YAML.
    NotYaml,
    /// Nothing in it.
    Empty,
    /// Over a limit on bytes, nodes, links or aliases.
    TooLarge,
    /// A list where a map belongs, a number where a text belongs, and so on.
    WrongShape,
    /// A key that means nothing here.
    UnknownKey,
    /// The same key twice.
    DuplicateKey,
    /// A key that must be there.
    MissingKey,
    /// A value out of a closed list.
    UnknownValue,
    /// A quantity without its unit, or with a wrong one.
    BadUnit,
    /// A value too small or too large.
    OutOfRange,
    /// A node identity, domain, topology name or service name outside its rules.
    BadName,
    /// A name under `/damc`.
    ReservedName,
    /// A node that is not declared.
    UnknownNode,
    /// A link that is not declared.
    UnknownLink,
    /// The same pair linked twice, or two links of one name.
    DuplicateLink,
    /// A node linked with itself.
    SelfLink,
    /// Two kinds that are never linked.
    ForbiddenLink,
    /// A pod or SPA on several SGs, an SG with several SPAs.
    SeveralAttachments,
    /// A pod, SPA or SCSC without the neighbour it needs.
    MissingAttachment,
    /// A second SCSC.
    SeveralScscs,
    /// A node or group of nodes out of reach of the others.
    Disconnected,
    /// A key that this kind of node cannot have.
    NotForThisKind,
    /// A service prefix held twice.
    DuplicatePrefix,
    /// A pool that is no ancestor of its instance, or a service prefix itself.
    BadPool,
    /// A threshold that no service can cross.
    UnknownPrefix,
    /// Properties that cannot go together.
    Contradiction,
    /// A label that no event has.
    UnknownLabel,
    /// Two events of one label.
    DuplicateLabel,
    /// A trace that cannot be read.
    BadTrace,
    /// Right, and not available in this version.
    NotAvailable,
}

impl MistakeKind {
    /// Every kind, in the order of their declaration.
    pub const ALL: [Self; 31] = [
        Self::Unreadable,
        Self::NotYaml,
        Self::Empty,
        Self::TooLarge,
        Self::WrongShape,
        Self::UnknownKey,
        Self::DuplicateKey,
        Self::MissingKey,
        Self::UnknownValue,
        Self::BadUnit,
        Self::OutOfRange,
        Self::BadName,
        Self::ReservedName,
        Self::UnknownNode,
        Self::UnknownLink,
        Self::DuplicateLink,
        Self::SelfLink,
        Self::ForbiddenLink,
        Self::SeveralAttachments,
        Self::MissingAttachment,
        Self::SeveralScscs,
        Self::Disconnected,
        Self::NotForThisKind,
        Self::DuplicatePrefix,
        Self::BadPool,
        Self::UnknownPrefix,
        Self::Contradiction,
        Self::UnknownLabel,
        Self::DuplicateLabel,
        Self::BadTrace,
        Self::NotAvailable,
    ];

    /// The name used in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::NotYaml => "not-yaml",
            Self::Empty => "empty",
            Self::TooLarge => "too-large",
            Self::WrongShape => "wrong-shape",
            Self::UnknownKey => "unknown-key",
            Self::DuplicateKey => "duplicate-key",
            Self::MissingKey => "missing-key",
            Self::UnknownValue => "unknown-value",
            Self::BadUnit => "bad-unit",
            Self::OutOfRange => "out-of-range",
            Self::BadName => "bad-name",
            Self::ReservedName => "reserved-name",
            Self::UnknownNode => "unknown-node",
            Self::UnknownLink => "unknown-link",
            Self::DuplicateLink => "duplicate-link",
            Self::SelfLink => "self-link",
            Self::ForbiddenLink => "forbidden-link",
            Self::SeveralAttachments => "several-attachments",
            Self::MissingAttachment => "missing-attachment",
            Self::SeveralScscs => "several-scscs",
            Self::Disconnected => "disconnected",
            Self::NotForThisKind => "not-for-this-kind",
            Self::DuplicatePrefix => "duplicate-prefix",
            Self::BadPool => "bad-pool",
            Self::UnknownPrefix => "unknown-prefix",
            Self::Contradiction => "contradiction",
            Self::UnknownLabel => "unknown-label",
            Self::DuplicateLabel => "duplicate-label",
            Self::BadTrace => "bad-trace",
            Self::NotAvailable => "not-available",
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What kind.
    pub kind: MistakeKind,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What would be right.
    pub help: String,
    /// Where: bytes of the source. None where the file as a whole is meant.
    pub span: Option<Range<usize>>,
    /// A second place that the first contradicts, and what is there.
    pub other: Option<(Range<usize>, &'static str)>,
}

impl Mistake {
    /// A mistake at a place.
    pub fn new(kind: MistakeKind, span: &Range<usize>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { kind, message: message.into(), help: help.into(), span: Some(span.clone()), other: None }
    }

    /// A mistake of the whole file.
    pub fn of_file(kind: MistakeKind, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { kind, message: message.into(), help: help.into(), span: None, other: None }
    }

    /// Adds a second place.
    #[must_use]
    pub fn with_other(mut self, span: &Range<usize>, label: &'static str) -> Self {
        self.other = Some((span.clone(), label));
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

impl Diagnostic for Mistake {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.kind.label()))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.help.is_empty()).then(|| Box::new(&self.help) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let here = self.span.clone().map(|span| LabeledSpan::new_primary_with_span(Some("here".to_owned()), span));
        let other = self.other.clone().map(|(span, label)| LabeledSpan::new_with_span(Some(label.to_owned()), span));
        here.is_some().then(|| Box::new(here.into_iter().chain(other)) as Box<dyn Iterator<Item = LabeledSpan>>)
    }
}

/// All mistakes of a file, in the order of their places.
#[derive(Debug)]
pub struct Mistakes {
    file: String,
    source: Box<NamedSource<String>>,
    listed: Vec<Mistake>,
    omitted: usize,
}

impl Mistakes {
    /// One mistake of a file as a whole: it cannot be read, it is no text.
    pub fn of_file(file: &str, kind: MistakeKind, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::new(file, "", vec![Mistake::of_file(kind, message, help)])
    }

    pub(super) fn new(file: &str, source: &str, mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| mistake.span.as_ref().map(|span| span.start));
        let omitted = mistakes.len().saturating_sub(MAX_LISTED);
        mistakes.truncate(MAX_LISTED);
        let source = Box::new(NamedSource::new(file, source.to_owned()).with_language("yaml"));
        Self { file: file.to_owned(), source, listed: mistakes, omitted }
    }

    /// The mistakes, at most [`MAX_LISTED`].
    #[must_use]
    pub fn listed(&self) -> &[Mistake] {
        &self.listed
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.listed.len() + self.omitted
    }

    /// Line and column (both from 1, columns in characters) where a mistake starts.
    #[must_use]
    pub fn place(&self, mistake: &Mistake) -> Option<(usize, usize)> {
        let before = self.source.inner().get(..mistake.span.as_ref()?.start)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count() {
            1 => write!(f, "{}: 1 mistake", self.file),
            count if self.omitted > 0 => {
                write!(f, "{}: {count} mistakes, the first {MAX_LISTED} are listed", self.file)
            }
            count => write!(f, "{}: {count} mistakes", self.file),
        }
    }
}

impl std::error::Error for Mistakes {}

impl Diagnostic for Mistakes {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source.as_ref())
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.listed.iter().map(|mistake| mistake as &dyn Diagnostic)))
    }
}

/// `; did you mean …?` for a word that is close to one of `known`, else nothing.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    // A third of the letters may differ, at least one: `delya`, `sg1` for `sg-1`, `sr-letf`.
    let tolerance = (word.chars().count() / 3).clamp(1, 3);
    // Distances of very long words are neither useful nor cheap.
    let cut = |word: &str| word.chars().take(64).collect::<String>();
    let word = cut(word);
    // Insertions, deletions, substitutions and swaps of neighbours count one each.
    let distance = |known: &str| strsim::osa_distance(&word, &cut(known));
    let nearest = known.into_iter().min_by_key(|known| {
        let shared = word.chars().zip(known.chars()).take_while(|(a, b)| a == b).count();
        (distance(known), Reverse(shared), *known)
    });
    match nearest {
        Some(known) if distance(known) <= tolerance => format!("did you mean `{known}`?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        assert_eq!(did_you_mean("delya", ["delay", "jitter"]), "did you mean `delay`?");
        assert_eq!(did_you_mean("sg1", ["sg-1", "sg-2"]), "did you mean `sg-1`?");
        assert_eq!(did_you_mean("bandwidth", ["delay", "jitter"]), "");
        assert_eq!(did_you_mean("x", []), "");
    }
}
