//! What stands for null.

/// The texts that stand for null in one column.
#[derive(Debug, Clone)]
pub(crate) struct Nulls {
    has_empty: bool,
    others: Vec<Vec<u8>>,
}

impl Nulls {
    pub(crate) fn new(spellings: &[String]) -> Self {
        let (empty, others): (Vec<_>, Vec<_>) =
            spellings.iter().partition(|spelling| spelling.is_empty());
        Self {
            has_empty: !empty.is_empty(),
            others: others.into_iter().map(|spelling| spelling.clone().into_bytes()).collect(),
        }
    }

    /// Whether `text`, a field without its quotes, stands for null.
    #[inline]
    pub(crate) fn contain(&self, text: &[u8]) -> bool {
        if text.is_empty() {
            return self.has_empty;
        }
        !self.others.is_empty() && self.others.iter().any(|null| null == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_is_null() {
        let nulls = Nulls::new(&["NA".to_owned(), "-".to_owned()]);
        assert!(nulls.contain(b"NA") && nulls.contain(b"-"));
        assert!(!nulls.contain(b"") && !nulls.contain(b"N") && !nulls.contain(b"na"));
        assert!(Nulls::new(&[String::new()]).contain(b""));
    }
}
