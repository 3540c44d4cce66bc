//! The bytes of an object, as a file that is written once.
//!
//! **Invariant:** a [`Blob`] is on disk and synced, its name included; a writer that is dropped leaves no file.

use std::path::{Path, PathBuf};

use md5::{Digest as _, Md5};
use sha2::{Sha256, Sha384, Sha512};
use tokio::io::AsyncWriteExt as _;

use super::{Checksums, R2Error};

/// Bytes of one object or part, as at Cloudflare.
const LIMIT: u64 = 5_363_466_240;

/// A file that holds the bytes of an object or of a part.
#[derive(Debug, Clone)]
pub(in crate::edge) struct Blob {
    pub(in crate::edge) name: String,
    pub(in crate::edge) size: u64,
    /// Hex.
    pub(in crate::edge) md5: String,
    /// Those that a caller gave and that were found to be right.
    pub(in crate::edge) checksums: Checksums,
}

/// A file that is being written.
pub(in crate::edge) struct BlobWriter {
    path: PathBuf,
    name: String,
    file: Option<tokio::fs::File>,
    size: u64,
    md5: Md5,
    sha256: Option<Sha256>,
    sha384: Option<Sha384>,
    sha512: Option<Sha512>,
    expected: Checksums,
}

impl BlobWriter {
    /// A new file in a folder.
    pub(super) async fn create(folder: &Path, name: String) -> Result<Self, R2Error> {
        let path = folder.join(&name);
        let file = tokio::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).await?;
        Ok(Self {
            path,
            name,
            file: Some(file),
            size: 0,
            md5: Md5::new(),
            sha256: None,
            sha384: None,
            sha512: None,
            expected: Checksums::default(),
        })
    }

    /// Says what the checksums have to be. Call it before the first byte.
    pub(in crate::edge) fn expect(&mut self, expected: Checksums) -> Result<(), R2Error> {
        if expected.sha1.is_some() {
            return Err(R2Error::Invalid("this edge does not check SHA-1: give md5, sha256, sha384 or sha512".to_owned()));
        }
        self.sha256 = expected.sha256.as_ref().map(|_| Sha256::new());
        self.sha384 = expected.sha384.as_ref().map(|_| Sha384::new());
        self.sha512 = expected.sha512.as_ref().map(|_| Sha512::new());
        self.expected = expected;
        Ok(())
    }

    /// Adds bytes.
    pub(in crate::edge) async fn write(&mut self, bytes: &[u8]) -> Result<(), R2Error> {
        self.size += bytes.len() as u64;
        if self.size > LIMIT {
            return Err(R2Error::TooLarge);
        }
        self.md5.update(bytes);
        if let Some(hash) = &mut self.sha256 {
            hash.update(bytes);
        }
        if let Some(hash) = &mut self.sha384 {
            hash.update(bytes);
        }
        if let Some(hash) = &mut self.sha512 {
            hash.update(bytes);
        }
        match &mut self.file {
            Some(file) => Ok(file.write_all(bytes).await?),
            None => Err(R2Error::Internal),
        }
    }

    /// Makes the file durable, if it is what was expected.
    pub(in crate::edge) async fn finish(mut self) -> Result<Blob, R2Error> {
        let md5 = hex(&std::mem::take(&mut self.md5).finalize());
        let expected = std::mem::take(&mut self.expected);
        let found = [
            ("MD5", &expected.md5, Some(md5.clone())),
            ("SHA-256", &expected.sha256, self.sha256.take().map(|hash| hex(&hash.finalize()))),
            ("SHA-384", &expected.sha384, self.sha384.take().map(|hash| hex(&hash.finalize()))),
            ("SHA-512", &expected.sha512, self.sha512.take().map(|hash| hex(&hash.finalize()))),
        ];
        for (name, wanted, got) in found {
            if wanted.is_some() && *wanted != got {
                return Err(R2Error::BadDigest(name));
            }
        }
        let Some(mut file) = self.file.take() else { return Err(R2Error::Internal) };
        let synced = async {
            file.flush().await?;
            file.sync_all().await?;
            match self.path.parent() {
                Some(folder) => tokio::fs::File::open(folder).await?.sync_all().await,
                None => Ok(()),
            }
        };
        if let Err(error) = synced.await {
            // So that the file is removed.
            self.file = Some(file);
            return Err(error.into());
        }
        Ok(Blob { name: std::mem::take(&mut self.name), size: self.size, md5, checksums: expected })
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        // The name is taken when the blob is made.
        if !self.name.is_empty() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Bytes as hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn written(expected: Checksums) -> (usize, Result<Blob, R2Error>) {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = BlobWriter::create(folder.path(), "blob".to_owned()).await.unwrap();
        writer.expect(expected).unwrap();
        writer.write(b"val").await.unwrap();
        writer.write(b"ue").await.unwrap();
        let finished = writer.finish().await;
        (std::fs::read_dir(folder.path()).unwrap().count(), finished)
    }

    #[tokio::test]
    async fn a_blob_is_what_was_expected_or_is_not_there() {
        let md5 = "2063c1608d6e0baf80249c42e2be5804".to_owned();
        let (files, blob) = written(Checksums { md5: Some(md5.clone()), ..Checksums::default() }).await;
        let blob = blob.unwrap();
        assert_eq!((files, blob.size, &blob.md5, blob.checksums.md5), (1, 5, &md5, Some(md5.clone())));
        let (files, refused) = written(Checksums { sha256: Some("00".to_owned()), ..Checksums::default() }).await;
        assert_eq!((files, refused.unwrap_err()), (0, R2Error::BadDigest("SHA-256")));
    }
}
