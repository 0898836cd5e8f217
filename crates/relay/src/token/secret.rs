//! The secret of HS256 tokens, wherever the configuration says it is.

use crate::Fatal;
use crate::config::DataDir;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const DEV_SECRET_FILE: &str = "dev-secret";
/// The least bytes of a secret.
pub(super) const SECRET_BYTES: usize = 32;

/// `--jwt-secret-file`.
pub(super) fn from_file(path: &Path) -> Result<Vec<u8>, Fatal> {
    let mut secret = std::fs::read(path)
        .map_err(|error| Fatal::new(format!("--jwt-secret-file {}: {error}", path.display())))?;
    while secret
        .last()
        .is_some_and(|byte| matches!(byte, b'\n' | b'\r'))
    {
        secret.pop();
    }
    Ok(secret)
}

/// `--dev`.
pub(super) fn of_development(data_dir: &DataDir) -> Result<Vec<u8>, Fatal> {
    match data_dir {
        DataDir::Memory => random(),
        DataDir::Folder(folder) => in_folder(folder),
    }
}

/// The secret, if it is long enough.
pub(super) fn long_enough(secret: Vec<u8>) -> Result<Vec<u8>, Fatal> {
    if secret.len() < SECRET_BYTES {
        return Err(Fatal::new(format!(
            "the secret of the tokens has {} bytes; HS256 needs at least {SECRET_BYTES}",
            secret.len()
        )));
    }
    Ok(secret)
}

fn random() -> Result<Vec<u8>, Fatal> {
    let mut secret = vec![0; SECRET_BYTES];
    getrandom::fill(&mut secret)
        .map_err(|error| Fatal::new(format!("the system gives no random bytes: {error}")))?;
    Ok(secret)
}

/// The development secret outlives restarts, so that a page's token does too.
fn in_folder(folder: &Path) -> Result<Vec<u8>, Fatal> {
    let path = folder.join(DEV_SECRET_FILE);
    let in_the_way = |error: std::io::Error| Fatal::new(format!("{}: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(in_the_way)?;
    match std::fs::read(&path) {
        Ok(secret) => {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
                .map_err(in_the_way)?;
            Ok(secret)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let secret = random()?;
            crate::store::write_whole(&path, &secret).map_err(in_the_way)?;
            Ok(secret)
        }
        Err(error) => Err(in_the_way(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KeyArgs;
    use crate::token::{Keys, Scope};
    use std::time::Duration;
    use tautline_protocol::Role;

    #[test]
    fn the_development_secret_outlives_a_restart_and_is_ours_alone() {
        let folder = tempfile::tempdir().unwrap();
        let args = KeyArgs {
            dev: true,
            ..KeyArgs::default()
        };
        let load = || Keys::load(&args, &DataDir::Folder(folder.path().into())).unwrap();
        let scope = Scope::One("grow".into());
        let token = load()
            .issue("s", Role::Server, scope, Duration::from_secs(60))
            .unwrap();
        assert!(load().verify(&token).is_ok());
        let mode = std::fs::metadata(folder.path().join(DEV_SECRET_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
