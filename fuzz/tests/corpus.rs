//! The kept inputs, each through its target: what the fuzzer has found once stays found.

use std::fs;
use std::path::Path;

fn replay(name: &str) {
    let target = tautline_fuzz::target(name).expect("a target of that name");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .expect("a corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 10, "{} has few inputs", folder.display());
    for path in paths {
        let input = fs::read(&path).expect("an input");
        if let Err(panic) = std::panic::catch_unwind(|| (target.run)(&input)) {
            eprintln!("the input was {}", path.display());
            std::panic::resume_unwind(panic);
        }
    }
}

macro_rules! replayed {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_is_replayed() {
            let names: Vec<_> = tautline_fuzz::TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

replayed! { socket auth commands http ws client voice peer watch }
