//! The power goes: what was not synced is lost, all of it or some (`disk.rs`).

use crate::disk::Disk;
use crate::layer::Layer;
use crate::load::*;
use crate::rng::Rng;
use crate::support::*;

/// What came of some cuts.
#[derive(Debug, Default)]
struct Cuts {
    total: Audit,
    cuts: usize,
    /// Writes and names that the disk did not have.
    unsynced: usize,
    /// After which the relay did not start.
    dead: usize,
    /// After which the history had another name.
    renamed: usize,
    /// Of those cuts after which the machine booted, once the history's name had been told.
    reboots: usize,
}

/// Rounds of load, each cut at random moments of its story; where the last cut left things the next round begins.
/// `reboots` says for each cut whether the machine comes up as another boot.
async fn cut(layer: &mut Layer, args: &[&str], seed: u64, rounds: usize, reboots: &[bool]) -> Cuts {
    let mut rng = Rng::new(seed);
    let args = [&FAST[..], args].concat();
    let mut all = Cuts::default();
    for round in 0..rounds {
        layer.forget();
        let before = Disk::of(&layer.root());
        let moment = layer.moment();
        let relay = layer.start(&args);
        let token = relay.token("service").await;
        let base = position(&relay, &token).await;
        let told = moment();
        let load = Load::start(&relay, &token, &format!("p{round}"), 8, moment).await;
        load.until_acked(100 + rng.below(300) as usize).await;
        relay.kill();
        let witness = load.witness().await;
        let story = layer.trace();
        for (cut, &reboot) in reboots.iter().enumerate() {
            // Right now, or at any moment since the start.
            let upto = match cut {
                0 => story.len() as u64,
                _ => rng.below(story.len() as u64),
            };
            let mut disk = before.clone();
            disk.replay(&story[..upto as usize]);
            let lost = disk.cut(&layer.root(), &mut rng);
            all.unsynced += lost.writes + lost.names;
            all.cuts += 1;
            if reboot {
                layer.boot();
            }
            let Some(relay) = Relay::try_spawn(layer.command(), &layer.data(), &args) else {
                all.dead += 1;
                continue;
            };
            // Where nothing had been said the secret of the tokens may be another.
            let token = match witness.said(upto) {
                0 => relay.token("service").await,
                _ => token.clone(),
            };
            let found = audit(&relay, &token, &base, &witness, upto).await;
            if upto >= told {
                all.renamed += usize::from(found.another_epoch);
                all.reboots += usize::from(reboot);
            }
            all.total.add(&found);
            if found.holds() {
                ask_again(&relay, &token, &base, &witness, upto).await;
                sound(&layer.data());
            }
            relay.kill();
        }
    }
    all
}

#[tokio::test]
async fn a_power_cut_takes_nothing_that_was_said() {
    let (cuts, seed) = (times("TAUTLINE_CUTS", 12), times("TAUTLINE_SEED", 1));
    let rounds = cuts.div_ceil(4) as usize;
    let found = cut(&mut Layer::new(), &[], seed, rounds, &[true; 4]).await;
    let total = found.total;
    assert_eq!(
        (total.lost, total.doubled, total.gone, total.holes),
        (0, 0, 0, 0),
        "seed {seed}: {found:?}"
    );
    assert_eq!(
        (found.dead, found.renamed),
        (0, 0),
        "seed {seed}: {found:?}"
    );
    assert!(found.unsynced > 0, "the layer sees no writes: {found:?}");
    figure("Power cut, `--durability full`: cuts", found.cuts);
    figure("… writes and names that the disk lost", found.unsynced);
    figure("… commands acked before the cut", total.acked);
    figure("… of them lost or done twice", total.lost + total.doubled);
    figure("… events shown before the cut", total.shown);
    figure("… of them gone or changed", total.gone);
}

#[tokio::test]
async fn without_full_durability_a_power_cut_is_noticed_by_a_new_epoch() {
    let (cuts, seed) = (times("TAUTLINE_CUTS", 12), times("TAUTLINE_SEED", 1));
    let rounds = cuts.div_ceil(8) as usize;
    let normal = ["--durability", "normal"];
    let found = cut(&mut Layer::new(), &normal, seed, rounds, &[true; 4]).await;
    assert_eq!(found.dead, 0, "seed {seed}: {found:?}");
    assert_eq!(found.renamed, found.reboots, "seed {seed}: {found:?}");
    // As the same boot goes on nothing is suspected: then what was lost can be counted.
    let found = cut(&mut Layer::new(), &normal, seed, rounds, &[false; 4]).await;
    assert_eq!(found.dead, 0, "seed {seed}: {found:?}");
    assert!(
        found.total.lost > 0,
        "nothing was lost: the cuts do not bite"
    );
    figure("Power cut, `--durability normal`: cuts", found.cuts);
    figure("… commands acked before the cut", found.total.acked);
    figure(
        "… of them lost (a start on another boot begins new epochs)",
        found.total.lost,
    );
}

#[tokio::test]
async fn a_disk_that_only_says_it_synced_is_found_out() {
    let seed = times("TAUTLINE_SEED", 1);
    let mut layer = Layer::new();
    layer.environment.push(("LAYER_LIE", "1".into()));
    let found = cut(&mut layer, &[], seed, 1, &[true; 4]).await;
    let harm = found.total.lost + found.dead;
    assert!(harm > 0, "syncs make no difference: {found:?}");
    figure("Power cut, syncs left out by the layer: cuts", found.cuts);
    figure("… commands acked and lost, or starts refused", harm);
}

#[tokio::test]
async fn what_a_killed_relay_had_not_synced_is_synced_before_it_is_served() {
    let seed = times("TAUTLINE_SEED", 1);
    let layer = Layer::new();
    let before = Disk::of(&layer.root());
    let mut relay = layer.start(&[]);
    let token = relay.token("service").await;
    relay.http().await.post(ORDERS, &token, &burger("1")).await;
    layer.kill_at_sync(true);
    let mut http = relay.http().await;
    let unanswered = http.send("POST", ORDERS, &token, &[], &burger("2")).await;
    assert!(unanswered.is_err(), "{unanswered:?}");
    assert_eq!(relay.ended().await.code(), None, "killed");
    layer.kill_at_sync(false);
    // It is in the system's cache, so it is part of the history from now on: somebody may see it.
    let relay = layer.start(&[]);
    let base = position(&relay, &token).await;
    assert_eq!(base.head, 2);
    relay.kill();
    let mut disk = before;
    disk.replay(&layer.trace());
    for seed in seed..seed + 8 {
        disk.cut(&layer.root(), &mut Rng::new(seed));
        let relay = layer.start(&[]);
        assert_eq!(position(&relay, &token).await, base, "seed {seed}");
        relay.kill();
    }
}
