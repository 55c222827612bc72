//! What is kept of a refused record: its own bytes, with as much around them as it takes to read
//! them again.

use std::ops::Range;

use crate::model::{Excerpt, ExcerptForm, Extent, Record, RejectionCode, Source, Step, limits};

/// Where the document at hand says something for all of its records.
#[derive(Debug, Clone, Default)]
pub(super) struct Around {
    /// Its tags.
    pub(super) tags: Option<Range<usize>>,
    /// Its time.
    pub(super) time: Option<Range<usize>>,
}

/// The excerpt of a record that was refused with `code`: the smallest document with the same
/// meaning. Records of decoders that know no documents have no path, and are kept as they stand.
pub(super) fn of_record(
    source: &Source<'_>,
    record: &Record<'_>,
    code: RejectionCode,
    around: &Around,
) -> Excerpt {
    let span = record.start..record.end;
    // Without a readable name nothing says where in its document it stood.
    if record.flaw.is_some() && record.name.is_none() {
        return of_text(source, code, span);
    }
    let duplicate = matches!(code, RejectionCode::DuplicateKey | RejectionCode::DuplicateSeries);
    let form = if duplicate { ExcerptForm::Duplicate } else { ExcerptForm::Record };
    let own = bytes(source, span);
    if own.len() > limits::QUARANTINE_EXCERPT {
        return cut(form, own);
    }
    let (open, close, has_head): (Vec<u8>, &[u8], bool) = match record.path.as_slice() {
        [Step::Index(_)] => (b"[".into(), b"]", false),
        [Step::Key(_)] => (b"{".into(), b"}", false),
        [Step::Key(_), Step::Index(_)] => (b"{\"metrics\":[".into(), b"]", true),
        [Step::Key(_), Step::Key(_)] => (b"{\"metrics\":{".into(), b"}", true),
        [Step::Key(_), Step::Key(plugin), Step::Key(_)] => {
            let plugin = serde_json::Value::String(plugin.clone().into_owned());
            (format!("{{\"plugins\":{{{plugin}:{{").into_bytes(), b"}}", true)
        }
        _ => return Excerpt { form, bytes: own.into(), extent: Extent::Whole },
    };
    let mut document = open;
    document.extend_from_slice(own);
    document.extend_from_slice(close);
    if has_head {
        for (key, span) in [("tags", &around.tags), ("time", &around.time)] {
            if let Some(span) = span {
                document.extend_from_slice(format!(",\"{key}\":").as_bytes());
                document.extend_from_slice(bytes(source, span.clone()));
            }
        }
        document.push(b'}');
    }
    if document.len() > limits::QUARANTINE_EXCERPT {
        return cut(form, &document);
    }
    Excerpt { form, bytes: document.into(), extent: Extent::Whole }
}

/// The excerpt of a document that was refused as one.
pub(super) fn of_document(source: &Source<'_>, span: Range<usize>) -> Excerpt {
    whole_or_cut(ExcerptForm::Document, bytes(source, span))
}

/// The excerpt of what is no record.
pub(super) fn of_text(source: &Source<'_>, code: RejectionCode, span: Range<usize>) -> Excerpt {
    let form = match code {
        RejectionCode::DuplicateKey => ExcerptForm::Duplicate,
        _ => ExcerptForm::Text,
    };
    let mut excerpt = whole_or_cut(form, bytes(source, span).trim_ascii());
    if code == RejectionCode::Truncated {
        // The run was cut off here: there is more of it that nobody has.
        excerpt.extent = Extent::Part;
    }
    excerpt
}

fn bytes<'a>(source: &Source<'a>, span: Range<usize>) -> &'a [u8] {
    let end = span.end.min(source.bytes().len());
    source.bytes().get(span.start..end).unwrap_or_default()
}

fn whole_or_cut(form: ExcerptForm, bytes: &[u8]) -> Excerpt {
    if bytes.len() > limits::QUARANTINE_EXCERPT {
        return cut(form, bytes);
    }
    Excerpt { form, bytes: bytes.into(), extent: Extent::Whole }
}

fn cut(form: ExcerptForm, bytes: &[u8]) -> Excerpt {
    let kept = &bytes[..bytes.len().min(limits::QUARANTINE_EXCERPT)];
    Excerpt { form, bytes: kept.into(), extent: Extent::Part }
}
