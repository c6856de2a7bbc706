//! The suite is not taken in by a store that lies.

use super::{conditional, listing, multipart, reading};
use crate::support::hold;
use crate::support::liar::{Lie, store};

#[test]
#[should_panic(expected = "a second create")]
fn a_create_that_overwrites_is_found() {
    hold(|| store(Lie::CreatesOverwrite), conditional::a_second_create_is_refused);
}

#[test]
#[should_panic(expected = "exactly one of the racers wins")]
fn a_create_that_looks_first_is_found() {
    // One after the other, nothing is amiss.
    hold(|| store(Lie::CreatesLookFirst), conditional::a_second_create_is_refused);
    hold(|| store(Lie::CreatesLookFirst), conditional::one_of_many_creators_wins);
}

#[test]
#[should_panic(expected = "a stale update")]
fn an_update_that_overwrites_is_found() {
    hold(|| store(Lie::UpdatesOverwrite), conditional::a_stale_update_is_refused);
}

#[test]
#[should_panic(expected = "another version")]
fn a_read_that_is_not_pinned_is_found() {
    hold(|| store(Lie::ReadsAreNotPinned), reading::a_pinned_read_is_of_that_version);
}

#[test]
#[should_panic(expected = "it is seen")]
fn an_upload_that_shows_is_found() {
    hold(|| store(Lie::UploadsShow), multipart::a_dropped_upload_shows_nothing);
}

#[test]
#[should_panic(expected = "the Delta kernel relies on the order")]
fn a_listing_without_order_is_found() {
    hold(|| store(Lie::ListingsAreBackwards), listing::a_list_is_in_the_order_of_keys);
}
