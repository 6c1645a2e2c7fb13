//! What clients come in by besides a plain port: TLS, and a socket of the file system.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::AppError;
use crate::listen::Listener;

/// A certificate with its key, as PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate, with those that lead to its authority after it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl TlsFiles {
    /// What speaks TLS 1.2 and 1.3 by them.
    ///
    /// # Errors
    /// [`AppError::Usage`] for files that cannot be read or do not go together.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, AppError> {
        fn wrong(path: &Path, reason: &dyn std::fmt::Display) -> AppError {
            AppError::Usage(format!("cannot use {} for TLS: {reason}", path.display()))
        }
        let certificates = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
            .map_err(|error| wrong(&self.certificate, &error))?;
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong(&self.key, &error))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .with_no_client_auth()
                    .with_single_cert(certificates, key)
            })
            .map_err(|error| wrong(&self.certificate, &error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// A socket at `path` that its owner alone may open. What is there is replaced if it is a socket that nobody answers at.
///
/// # Errors
/// [`AppError::Usage`] when something else is there, or it cannot be made.
#[cfg(unix)]
pub(super) fn socket(path: &Path) -> Result<Listener, AppError> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    use std::os::unix::net::UnixStream;

    let wrong = |reason: &dyn std::fmt::Display| {
        AppError::Usage(format!("cannot listen at {}: {reason}", path.display()))
    };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if let Ok(there) = path.symlink_metadata() {
        if !there.file_type().is_socket() {
            return Err(wrong(&"there is a file that is no socket"));
        }
        if UnixStream::connect(path).is_ok() {
            return Err(wrong(&"another program answers there"));
        }
    }
    // Made in a folder of its owner's and moved into place, so that nobody else can open it at any moment.
    let made = tempfile::Builder::new()
        .prefix(".picsift")
        .tempdir_in(parent);
    let made = made.map_err(|e| wrong(&e))?;
    let own = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(made.path(), own).map_err(|e| wrong(&e))?;
    let inside = made.path().join("s");
    let listener = tokio::net::UnixListener::bind(&inside).map_err(|e| wrong(&e))?;
    let owner = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&inside, owner)
        .and_then(|()| std::fs::rename(&inside, path))
        .map_err(|e| wrong(&e))?;
    Ok(Listener::Unix(listener))
}

/// There are no such sockets on this system.
///
/// # Errors
/// [`AppError::Usage`].
#[cfg(not(unix))]
pub(super) fn socket(path: &Path) -> Result<Listener, AppError> {
    Err(AppError::Usage(format!(
        "cannot listen at {}: this system has no sockets in its file system",
        path.display()
    )))
}
