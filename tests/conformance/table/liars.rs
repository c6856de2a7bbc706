//! The suite is not taken in by a table on a store that lies.

#[cfg(feature = "delta")]
mod delta {
    use crate::support::hold;
    use crate::support::liar::{Lie, delta};
    use crate::table::{commits, creation};

    #[test]
    #[should_panic(expected = "exactly one writer wins")]
    fn a_version_that_two_take_is_found() {
        hold(|| delta(Lie::CreatesLookFirst), commits::one_of_many_writers_on_one_pin_wins);
    }

    #[test]
    #[should_panic(expected = "exactly one of the creators wins")]
    fn a_table_that_two_create_is_found() {
        hold(|| delta(Lie::CreatesLookFirst), creation::one_of_many_creators_wins);
    }

    #[test]
    #[should_panic(expected = "left: Committed(1)")]
    fn a_version_that_is_overwritten_is_found() {
        hold(|| delta(Lie::CreatesOverwrite), commits::a_stale_pin_conflicts_and_changes_nothing);
    }
}

#[cfg(feature = "iceberg")]
mod iceberg {
    use crate::support::hold;
    use crate::support::liar::{Lie, iceberg};
    use crate::table::{commits, creation};

    #[test]
    #[should_panic(expected = "exactly one writer wins")]
    fn a_version_that_two_take_is_found() {
        hold(|| iceberg(Lie::CreatesLookFirst), commits::one_of_many_writers_on_one_pin_wins);
    }

    #[test]
    #[should_panic(expected = "exactly one of the creators wins")]
    fn a_table_that_two_create_is_found() {
        hold(|| iceberg(Lie::CreatesLookFirst), creation::one_of_many_creators_wins);
    }

    #[test]
    #[should_panic(expected = "left: Committed(1)")]
    fn a_version_that_is_overwritten_is_found() {
        hold(|| iceberg(Lie::CreatesOverwrite), commits::a_stale_pin_conflicts_and_changes_nothing);
    }
}
