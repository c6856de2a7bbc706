//! The leases, as `lakefeed::lease` uses them.

use std::time::Duration;

use futures::future::join_all;
use lakefeed::lease::{Acquisition, CLOCK_SKEW_MAX, LeaseStore, Renewal};

use crate::support::hold;
use crate::support::leases::{DURATION, Leases, acquired, claim, held, lying};
use crate::support::liar::Lie;

/// How many want the lease at once.
const CONTENDERS: usize = 100;
/// How many times they do.
const ROUNDS: u64 = 10;
/// Less than the duration, and more than half of it.
const A_WHILE: Duration = Duration::from_secs(40);

conformance!(leases: object, object_on_s3, file, dynamodb_moto, dynamodb_local => [
    a_new_lease_is_nobodys,
    a_claim_is_written_down,
    a_second_claim_is_told_who_holds_it,
    one_of_many_claims_succeeds,
    the_holder_may_claim_again,
    a_released_lease_is_free_at_once,
    a_lease_that_stands_still_is_taken,
    one_of_many_takes_a_lease_that_stands_still,
    a_renewed_lease_is_not_taken,
    who_comes_late_goes_by_the_wall_clock,
    a_clock_that_is_ahead_takes_nothing_within_the_skew,
    a_broken_lease_is_free_at_once,
    who_lost_a_lease_leaves_the_next_holder_alone,
    a_lease_whose_holder_is_gone,
    a_record_that_is_damaged_is_nobodys,
]);

async fn a_new_lease_is_nobodys(leases: Leases) {
    let contender = leases.contender();
    assert_eq!(contender.inspect().await.unwrap(), None);
    assert_eq!(contender.break_().await.unwrap(), None);
    assert_eq!(acquired(contender.as_ref(), "a").await.epoch, 1);
}

async fn a_claim_is_written_down(leases: Leases) {
    let contender = leases.contender();
    let lease = acquired(contender.as_ref(), "a").await;
    assert_eq!((lease.owner.as_str(), lease.purpose.as_str()), ("a", "a test"));
    assert_eq!((lease.renewed_at, lease.duration()), (lease.acquired_at, DURATION));
    assert_eq!(leases.contender().inspect().await.unwrap().unwrap(), lease);
}

async fn a_second_claim_is_told_who_holds_it(leases: Leases) {
    let (first, second) = (leases.contender(), leases.contender());
    let lease = acquired(first.as_ref(), "a").await;
    assert_eq!(held(second.as_ref(), "b").await, lease);
    assert_eq!(second.inspect().await.unwrap().unwrap(), lease);
}

/// All at once, from real threads; those who got it.
async fn race(contenders: &[std::sync::Arc<dyn LeaseStore>]) -> Vec<usize> {
    let claims = contenders.iter().cloned().enumerate().map(|(number, contender)| {
        tokio::spawn(async move {
            let claimed = contender.acquire(&claim(&number.to_string())).await.unwrap();
            matches!(claimed, Acquisition::Acquired(_)).then_some(number)
        })
    });
    join_all(claims).await.into_iter().filter_map(Result::unwrap).collect()
}

async fn one_of_many_claims_succeeds(leases: Leases) {
    let contenders: Vec<_> = (0..CONTENDERS).map(|_| leases.contender()).collect();
    for round in 1..=ROUNDS {
        let winners = race(&contenders).await;
        assert_eq!(winners.len(), 1, "one of the claims succeeds: {winners:?}");
        let lease = contenders[0].inspect().await.unwrap().unwrap();
        assert_eq!((lease.owner, lease.epoch), (winners[0].to_string(), round));
        let lease = acquired(contenders[winners[0]].as_ref(), &winners[0].to_string()).await;
        contenders[winners[0]].release(&lease).await.unwrap();
    }
}

/// As it must after an answer was lost.
async fn the_holder_may_claim_again(leases: Leases) {
    let contender = leases.contender();
    let lease = acquired(contender.as_ref(), "a").await;
    assert_eq!(acquired(contender.as_ref(), "a").await, lease);
}

async fn a_released_lease_is_free_at_once(leases: Leases) {
    let (first, second) = (leases.contender(), leases.contender());
    let lease = acquired(first.as_ref(), "a").await;
    first.release(&lease).await.unwrap();
    assert_eq!(second.inspect().await.unwrap(), None);
    assert_eq!(acquired(second.as_ref(), "b").await.epoch, 2);
    // It ended once; another time does nothing.
    first.release(&lease).await.unwrap();
    assert_eq!(second.inspect().await.unwrap().unwrap().owner, "b");
}

async fn a_lease_that_stands_still_is_taken(leases: Leases) {
    let (first, second) = (leases.contender(), leases.contender());
    let lease = acquired(first.as_ref(), "a").await;
    held(second.as_ref(), "b").await;
    // Whatever the wall clocks say.
    leases.clock.pass_unseen(A_WHILE);
    assert_eq!(held(second.as_ref(), "b").await, lease);
    leases.clock.pass_unseen(A_WHILE);
    assert_eq!(acquired(second.as_ref(), "b").await.epoch, 2);
    assert_eq!(first.renew(&lease).await.unwrap(), Renewal::Lost);
}

async fn one_of_many_takes_a_lease_that_stands_still(leases: Leases) {
    let gone = leases.contender();
    acquired(gone.as_ref(), "gone").await;
    let contenders: Vec<_> = (0..CONTENDERS).map(|_| leases.contender()).collect();
    assert!(race(&contenders).await.is_empty());
    leases.clock.pass_unseen(DURATION);
    let winners = race(&contenders).await;
    assert_eq!(winners.len(), 1, "{winners:?}");
}

async fn a_renewed_lease_is_not_taken(leases: Leases) {
    let (first, second) = (leases.contender(), leases.contender());
    let lease = acquired(first.as_ref(), "a").await;
    for _ in 0..3 {
        held(second.as_ref(), "b").await;
        leases.clock.pass(A_WHILE);
        let Renewal::Renewed(renewed) = first.renew(&lease).await.unwrap() else {
            panic!("it is lost")
        };
        assert_eq!((&renewed.owner, renewed.epoch), (&lease.owner, lease.epoch));
        assert_eq!((renewed.acquired_at, renewed.duration()), (lease.acquired_at, DURATION));
        assert!(renewed.expires_at >= lease.expires_at + A_WHILE);
        assert_eq!(held(second.as_ref(), "b").await, renewed);
    }
}

async fn who_comes_late_goes_by_the_wall_clock(leases: Leases) {
    let first = leases.contender();
    acquired(first.as_ref(), "a").await;
    leases.clock.pass(DURATION + CLOCK_SKEW_MAX);
    leases.clock.pass(Duration::from_secs(1));
    assert_eq!(acquired(leases.contender().as_ref(), "b").await.epoch, 2);
}

async fn a_clock_that_is_ahead_takes_nothing_within_the_skew(leases: Leases) {
    let first = leases.contender();
    let lease = acquired(first.as_ref(), "a").await;
    let ahead = leases.contender_ahead_by(DURATION + CLOCK_SKEW_MAX - Duration::from_secs(10));
    assert_eq!(held(ahead.as_ref(), "b").await, lease);
}

async fn a_broken_lease_is_free_at_once(leases: Leases) {
    let (first, second) = (leases.contender(), leases.contender());
    let lease = acquired(first.as_ref(), "a").await;
    assert_eq!(second.break_().await.unwrap().unwrap(), lease);
    assert_eq!(second.break_().await.unwrap(), None);
    assert_eq!(second.inspect().await.unwrap(), None);
    assert_eq!(first.renew(&lease).await.unwrap(), Renewal::Lost);
    assert_eq!(acquired(second.as_ref(), "b").await.epoch, 2);
}

async fn who_lost_a_lease_leaves_the_next_holder_alone(leases: Leases) {
    let (first, second) = (leases.contender(), leases.contender());
    let lost = acquired(first.as_ref(), "a").await;
    second.break_().await.unwrap();
    let lease = acquired(second.as_ref(), "b").await;
    assert_eq!(first.renew(&lost).await.unwrap(), Renewal::Lost);
    first.release(&lost).await.unwrap();
    assert_eq!(second.inspect().await.unwrap().unwrap(), lease);
    assert!(matches!(second.renew(&lease).await.unwrap(), Renewal::Renewed(_)));
    // The same owner's next lease is not the one before.
    second.release(&lease).await.unwrap();
    let next = acquired(second.as_ref(), "b").await;
    assert_eq!(second.renew(&lease).await.unwrap(), Renewal::Lost);
    assert_eq!(second.inspect().await.unwrap().unwrap(), next);
}

async fn a_lease_whose_holder_is_gone(leases: Leases) {
    let (first, second) = (leases.contender(), leases.contender());
    acquired(first.as_ref(), "a").await;
    drop(first);
    if leases.can.ends_with_its_holder {
        assert_eq!(second.inspect().await.unwrap(), None);
        assert_eq!(acquired(second.as_ref(), "b").await.epoch, 2);
    } else {
        assert_eq!(held(second.as_ref(), "b").await.owner, "a");
    }
}

/// A lease only helps: one that cannot be read must not hold up anybody.
async fn a_record_that_is_damaged_is_nobodys(leases: Leases) {
    let contender = leases.contender();
    leases.damage().await;
    assert_eq!(contender.inspect().await.unwrap(), None);
    assert_eq!(contender.break_().await.unwrap(), None);
    assert_eq!(acquired(contender.as_ref(), "a").await.epoch, 1);
}

#[test]
#[should_panic(expected = "one of the claims succeeds")]
fn a_store_whose_creates_overwrite_is_found() {
    hold(|| lying(Lie::CreatesLookFirst), one_of_many_claims_succeeds);
}

#[test]
#[should_panic(expected = "one of the claims succeeds")]
fn a_store_whose_updates_overwrite_is_found() {
    hold(|| lying(Lie::UpdatesOverwrite), one_of_many_claims_succeeds);
}
