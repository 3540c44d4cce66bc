//! R2: objects on disk, under the names of their buckets.
//!
//! Goes in: calls of bindings and of the API. Comes out: objects with their metadata, pages of keys, multipart uploads.
//! An object's bytes are a file named by chance; an index, one SQLite database, says which object is which file. The file
//! is synced before the index names it, and goes after the index has forgotten it, so that a crash leaves at most files
//! that nobody names, which go at the next start.
//!
//! **Invariant:** a key leads to one whole object at any instant, the old one or the new.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::EdgeError;
use super::super::record::fresh_hex;
use super::{blocking, make_folder, now_ms};

mod blob;
mod condition;
mod error;
mod index;
mod multipart;
mod object;
pub(super) mod wire;

pub(in crate::edge) use blob::{Blob, BlobWriter};
pub(in crate::edge) use condition::Condition;
pub(in crate::edge) use error::R2Error;
pub(in crate::edge) use index::{ListQuery, Listing};
pub(in crate::edge) use object::{Checksums, HttpFields, Object, Range};

pub(in crate::edge) use wire::stream;

use index::Index;

/// Bytes of a key.
const KEY_LIMIT: usize = 1024;
/// Bytes of an object's own metadata.
const METADATA_LIMIT: usize = 8192;

/// All objects of all buckets.
#[derive(Clone)]
pub(in crate::edge) struct Buckets {
    blobs: Arc<PathBuf>,
    index: Arc<Mutex<Index>>,
}

/// What goes with an object's bytes.
#[derive(Debug, Clone, Default)]
pub(in crate::edge) struct Given {
    pub(in crate::edge) http: HttpFields,
    pub(in crate::edge) custom: BTreeMap<String, String>,
    pub(in crate::edge) storage_class: Option<String>,
}

impl Buckets {
    /// Opens the objects in a folder; files that no object names are removed.
    pub(in crate::edge) fn open(folder: &Path) -> Result<Self, EdgeError> {
        let blobs = folder.join("blobs");
        make_folder(&blobs)?;
        let path = folder.join("index.sqlite");
        let index = Index::open(&path)?;
        let named = index.blobs().map_err(|source| EdgeError::Database { path, source })?;
        let failed = |source| EdgeError::Folder { path: blobs.clone(), source };
        for entry in fs::read_dir(&blobs).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_str().is_none_or(|name| !named.contains(name)) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(Self { blobs: Arc::new(blobs), index: Arc::new(Mutex::new(index)) })
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Index) -> Result<T, R2Error> + Send + 'static,
    ) -> Result<T, R2Error> {
        let index = Arc::clone(&self.index);
        blocking(move || {
            let mut index: MutexGuard<'_, Index> = index.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut index)
        })
        .await
    }

    /// A file for the bytes of an object that is to be put.
    pub(in crate::edge) async fn writer(&self) -> Result<BlobWriter, R2Error> {
        BlobWriter::create(&self.blobs, fresh_hex()).await
    }

    /// Puts an object whose bytes are written, in place of the one that was there.
    pub(in crate::edge) async fn put(
        &self,
        bucket: &str,
        key: &str,
        blob: Blob,
        given: Given,
        condition: Option<Condition>,
    ) -> Result<Object, R2Error> {
        let name = blob.name.clone();
        let put = check_key(key).and_then(|()| check_given(&given)).map(|()| (bucket.to_owned(), key.to_owned()));
        let put = match put {
            Ok((bucket, key)) => {
                self.with(move |index| {
                    let object = object::of_blob(&key, &blob, given, now_ms());
                    let freed = index.put(&bucket, &object, &blob.name, condition.as_ref())?;
                    Ok((object, freed))
                })
                .await
            }
            Err(error) => Err(error),
        };
        match put {
            Ok((object, freed)) => {
                self.free(freed).await;
                Ok(object)
            }
            Err(error) => {
                self.free(vec![name]).await;
                Err(error)
            }
        }
    }

    /// What is known of an object.
    pub(in crate::edge) async fn head(&self, bucket: &str, key: &str) -> Result<Object, R2Error> {
        check_key(key)?;
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.with(move |index| index.get(&bucket, &key)).await.map(|(object, _)| object)
    }

    /// An object with its bytes, as an open file.
    pub(in crate::edge) async fn get(&self, bucket: &str, key: &str) -> Result<(Object, fs::File), R2Error> {
        check_key(key)?;
        let (bucket, key, blobs) = (bucket.to_owned(), key.to_owned(), Arc::clone(&self.blobs));
        // Opened while the index is held: nothing can take the file away in between.
        self.with(move |index| {
            let (object, blob) = index.get(&bucket, &key)?;
            let file = fs::File::open(blobs.join(blob))?;
            Ok((object, file))
        })
        .await
    }

    /// Deletes objects; keys without one do not matter.
    pub(in crate::edge) async fn delete(&self, bucket: &str, keys: Vec<String>) -> Result<(), R2Error> {
        keys.iter().try_for_each(|key| check_key(key))?;
        let bucket = bucket.to_owned();
        let freed = self.with(move |index| index.delete(&bucket, &keys)).await?;
        self.free(freed).await;
        Ok(())
    }

    /// A page of keys.
    pub(in crate::edge) async fn list(&self, bucket: &str, query: ListQuery) -> Result<Listing, R2Error> {
        let bucket = bucket.to_owned();
        self.with(move |index| index.list(&bucket, &query)).await
    }

    /// Whether a bucket holds nothing. Multipart uploads that were not completed are no objects.
    pub(in crate::edge) async fn is_empty(&self, bucket: &str) -> Result<bool, R2Error> {
        let query = ListQuery { limit: Some(1), ..ListQuery::default() };
        Ok(self.list(bucket, query).await?.objects.is_empty())
    }

    /// Forgets a bucket with all that is in it.
    pub(in crate::edge) async fn forget(&self, bucket: &str) -> Result<(), R2Error> {
        let bucket = bucket.to_owned();
        let freed = self.with(move |index| index.forget(&bucket)).await?;
        self.free(freed).await;
        Ok(())
    }

    /// Removes files that nobody names any more.
    async fn free(&self, names: Vec<String>) {
        if names.is_empty() {
            return;
        }
        let blobs = Arc::clone(&self.blobs);
        blocking(move || {
            for name in names {
                if let Err(error) = fs::remove_file(blobs.join(&name)) {
                    tracing::warn!(name, %error, "A file of a deleted object is left until the next start.");
                }
            }
        })
        .await;
    }
}

fn check_key(key: &str) -> Result<(), R2Error> {
    match key.is_empty() || key.len() > KEY_LIMIT {
        true => Err(R2Error::InvalidName),
        false => Ok(()),
    }
}

fn check_given(given: &Given) -> Result<(), R2Error> {
    let bytes: usize = given.custom.iter().map(|(name, value)| name.len() + value.len()).sum();
    match bytes > METADATA_LIMIT {
        true => Err(R2Error::MetadataTooLarge),
        false => Ok(()),
    }
}
