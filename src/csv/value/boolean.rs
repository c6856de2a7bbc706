//! Booleans.

/// The words for true and for false, of which case makes no difference, where nothing else is said.
pub(crate) const TRUE_VALUES: [&str; 5] = ["true", "t", "1", "yes", "y"];
/// As [`TRUE_VALUES`].
pub(crate) const FALSE_VALUES: [&str; 5] = ["false", "f", "0", "no", "n"];

/// A boolean in the words that count where nothing else is said.
pub(crate) fn boolean(text: &[u8]) -> Option<bool> {
    let is = |word: &&str| text.eq_ignore_ascii_case(word.as_bytes());
    if TRUE_VALUES.iter().any(is) {
        Some(true)
    } else if FALSE_VALUES.iter().any(is) {
        Some(false)
    } else {
        None
    }
}

/// Words for booleans. The case of ASCII letters makes no difference.
#[derive(Debug, Clone)]
pub(crate) struct BooleanSpellings {
    of_true: Vec<String>,
    of_false: Vec<String>,
}

impl BooleanSpellings {
    pub(crate) fn new(of_true: &[String], of_false: &[String]) -> Self {
        Self { of_true: of_true.to_vec(), of_false: of_false.to_vec() }
    }

    /// The words that make a column one of booleans: those that were given, and of those that count
    /// where nothing is said, the whole words alone. Digits and letters are too often something else.
    pub(crate) fn telling(&self) -> Self {
        let telling = |given: &[String], usual: &[&str]| match given == usual {
            true => vec![usual[0].to_owned()],
            false => given.to_vec(),
        };
        Self {
            of_true: telling(&self.of_true, &TRUE_VALUES),
            of_false: telling(&self.of_false, &FALSE_VALUES),
        }
    }

    pub(crate) fn read(&self, text: &[u8]) -> Option<bool> {
        let is = |word: &String| text.eq_ignore_ascii_case(word.as_bytes());
        if self.of_true.iter().any(is) {
            Some(true)
        } else if self.of_false.iter().any(is) {
            Some(false)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_words() {
        assert_eq!(
            ["TRUE", "t", "Yes", "y", "1"].map(|word| boolean(word.as_bytes())),
            [Some(true); 5]
        );
        assert_eq!(
            ["False", "F", "no", "N", "0"].map(|word| boolean(word.as_bytes())),
            [Some(false); 5]
        );
        assert_eq!(["", "tr", "10", "on"].map(|word| boolean(word.as_bytes())), [None; 4]);
    }

    #[test]
    fn words_that_are_given_take_the_place_of_the_usual() {
        let given =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let german = BooleanSpellings::new(&given(&["ja", "wahr"]), &given(&FALSE_VALUES));
        let read = |word: &str| german.read(word.as_bytes());
        assert_eq!(
            ["JA", "wahr", "no", "0"].map(read),
            [Some(true), Some(true), Some(false), Some(false)]
        );
        assert_eq!(["true", "y", "nein"].map(read), [None; 3]);
        let tells = |word: &str| german.telling().read(word.as_bytes());
        assert_eq!(["ja", "false", "0", "true"].map(tells), [Some(true), Some(false), None, None]);
    }
}
