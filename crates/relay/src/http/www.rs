//! Static files of `--www`: real paths only, no dotfiles, no listing.

use super::App;
use super::problem::Problem;
use crate::Fatal;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

const CSP: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; \
    media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// In development a page may also speak to other ports of this machine: a tunnel in a test, a second relay.
const CONNECT_DEV: &str =
    "; connect-src 'self' http://127.0.0.1:* ws://127.0.0.1:* http://localhost:* ws://localhost:*";

/// A folder of files.
#[derive(Debug)]
pub(crate) struct Www {
    root: PathBuf,
}

impl Www {
    /// The folder must be there now.
    pub(crate) fn open(folder: &Path) -> Result<Self, Fatal> {
        let root = folder
            .canonicalize()
            .map_err(|error| Fatal::new(format!("--www {}: {error}", folder.display())))?;
        if !root.is_dir() {
            return Err(Fatal::new(format!(
                "--www {}: not a folder",
                folder.display()
            )));
        }
        Ok(Self { root })
    }

    /// The real file that a URL's path names.
    fn find(&self, path: &str) -> Option<PathBuf> {
        let path = decode(path)?;
        let mut file = self.root.clone();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if part.starts_with('.') || part.contains(['\\', '\0']) {
                return None;
            }
            file.push(part);
        }
        if path.ends_with('/') {
            file.push("index.html");
        }
        // A link that leads out of the folder is not in it.
        let real = file.canonicalize().ok()?;
        (real.starts_with(&self.root) && real.is_file()).then_some(real)
    }
}

/// Percent-decoding; `None` when it is not UTF-8 or not well formed.
fn decode(path: &str) -> Option<String> {
    let mut bytes = path.bytes();
    let mut out = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let hex = |byte: u8| char::from(byte).to_digit(16);
        let (high, low) = (bytes.next().and_then(hex)?, bytes.next().and_then(hex)?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

fn mime(path: &Path) -> &'static str {
    match path
        .extension()
        .and_then(|extension| extension.to_str())
        .unwrap_or_default()
    {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "txt" | "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Whether a bundler put a hash of the content into the name: `index-BrWm2f9a.js`.
fn is_hashed(path: &Path) -> bool {
    path.file_stem()
        .and_then(|stem| stem.to_str())
        .and_then(|stem| stem.rsplit_once('-'))
        .is_some_and(|(_, hash)| {
            hash.len() >= 8
                && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && path
                    .parent()
                    .is_some_and(|folder| folder.ends_with("assets"))
        })
}

/// Whatever is no route.
pub(super) async fn file(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let nothing = || Problem::not_found("nothing is here");
    let path = request.uri().path();
    let www = app
        .www
        .clone()
        .filter(|_| !path.starts_with("/api/") && !path.starts_with("/dev/"))
        .ok_or_else(nothing)?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "files are read with GET",
        ));
    }
    let wanted = path.to_owned();
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let dev = app.dev;
    let read = tokio::task::spawn_blocking(move || {
        let path = www.find(&wanted)?;
        let about = path.metadata().ok()?;
        let changed = about
            .modified()
            .ok()?
            .duration_since(UNIX_EPOCH)
            .ok()?
            .as_nanos();
        let tag = format!("\"{:x}-{:x}\"", about.len(), changed);
        let content = if known.is_some_and(|known| known == tag.as_str()) {
            None
        } else {
            Some(std::fs::read(&path).ok()?)
        };
        Some((path, tag, content))
    });
    let (path, tag, content) = read.await.ok().flatten().ok_or_else(nothing)?;
    let mut response = match content {
        Some(content) => content.into_response(),
        None => StatusCode::NOT_MODIFIED.into_response(),
    };
    let headers = response.headers_mut();
    let kind = mime(&path);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let cache = if is_hashed(&path) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    if kind.starts_with("text/html") {
        let csp = if dev {
            format!("{CSP}{CONNECT_DEV}")
        } else {
            CSP.to_owned()
        };
        if let Ok(csp) = HeaderValue::from_str(&csp) {
            headers.insert(header::CONTENT_SECURITY_POLICY, csp);
        }
        headers.insert(
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        );
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_files_inside() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("www");
        std::fs::create_dir_all(root.join("assets")).unwrap();
        std::fs::write(folder.path().join("secret"), "s").unwrap();
        std::fs::write(root.join("index.html"), "i").unwrap();
        std::fs::write(root.join(".env"), "e").unwrap();
        std::fs::write(root.join("assets/a b.js"), "a").unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret"), root.join("link")).unwrap();
        let www = Www::open(&root).unwrap();
        assert!(
            www.find("/")
                .is_some_and(|path| path.ends_with("index.html"))
        );
        assert!(www.find("/index.html").is_some() && www.find("/assets/a%20b.js").is_some());
        for bad in [
            "/../secret",
            "/..%2fsecret",
            "/%2e%2e/secret",
            "/.env",
            "/link",
            "/assets",
            "/assets/",
            "/nothing",
            "/%zz",
            "/%",
            "/a%00",
            "/..\\secret",
        ] {
            assert_eq!(www.find(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_with_a_hash_are_kept_for_ever() {
        assert!(is_hashed(Path::new("/w/assets/index-BrWm2f9a.js")));
        assert!(
            !is_hashed(Path::new("/w/index.html"))
                && !is_hashed(Path::new("/w/assets/index.js"))
                && !is_hashed(Path::new("/w/my-component.js"))
        );
    }
}
