//! Multipart uploads: an object in parts, which are put together when it is completed.
//!
//! **Invariant:** a key shows nothing of an upload before it is completed.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;

use md5::{Digest as _, Md5};
use rusqlite::{OptionalExtension as _, params};
use serde::Deserialize;

use super::super::super::record::fresh_hex;
use super::blob::hex;
use super::index::{insert, text};
use super::{Blob, Buckets, Checksums, Given, Object, R2Error, check_given, check_key, now_ms};

/// Every part but the last has at least this many bytes.
const SMALLEST_PART: u64 = 5 * 1024 * 1024;
/// Parts of one upload.
const PARTS: u32 = 10_000;

/// A part, as the caller names it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Named {
    pub(super) etag: String,
    pub(super) part: u32,
}

impl Buckets {
    /// Begins an upload; its id.
    pub(super) async fn begin(&self, bucket: &str, key: &str, given: Given) -> Result<String, R2Error> {
        check_key(key)?;
        check_given(&given)?;
        let (bucket, key, id) = (bucket.to_owned(), key.to_owned(), format!("{}{}", fresh_hex(), fresh_hex()));
        let made = id.clone();
        self.with(move |index| {
            index.0.execute(
                "INSERT INTO upload (id, bucket, key, http, custom, storage_class, started) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    id,
                    bucket,
                    key,
                    text(&given.http),
                    text(&given.custom),
                    given.storage_class.as_deref().unwrap_or("Standard"),
                    now_ms()
                ],
            )?;
            Ok(())
        })
        .await?;
        Ok(made)
    }

    /// Keeps a part; its etag.
    pub(super) async fn put_part(
        &self,
        bucket: &str,
        key: &str,
        upload: &str,
        number: u32,
        blob: Blob,
    ) -> Result<String, R2Error> {
        let (bucket, key, upload) = (bucket.to_owned(), key.to_owned(), upload.to_owned());
        let (name, etag) = (blob.name.clone(), blob.md5.clone());
        let put = self
            .with(move |index| {
                if !(1..=PARTS).contains(&number) {
                    return Err(R2Error::InvalidPart);
                }
                let transaction = index.0.transaction()?;
                given_of(&transaction, &bucket, &key, &upload)?;
                let find = "SELECT blob FROM part WHERE upload = ?1 AND number = ?2";
                let before: Option<String> = transaction.query_row(find, params![upload, number], |row| row.get(0)).optional()?;
                transaction.execute(
                    "INSERT OR REPLACE INTO part (upload, number, blob, size, md5) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![upload, number, blob.name, blob.size, blob.md5],
                )?;
                transaction.commit()?;
                Ok(before)
            })
            .await;
        match put {
            Ok(before) => {
                self.free(before.into_iter().collect()).await;
                Ok(etag)
            }
            Err(error) => {
                self.free(vec![name]).await;
                Err(error)
            }
        }
    }

    /// Puts the named parts together.
    pub(super) async fn complete(&self, bucket: &str, key: &str, upload: &str, parts: Vec<Named>) -> Result<Object, R2Error> {
        let (bucket, key, upload, blobs) = (bucket.to_owned(), key.to_owned(), upload.to_owned(), Arc::clone(&self.blobs));
        let whole = fresh_hex();
        let name = whole.clone();
        let completed = self
            .with(move |index| {
                let given = given_of(&index.0, &bucket, &key, &upload)?;
                let kept: Vec<(u32, String, u64, String)> = index
                    .0
                    .prepare("SELECT number, blob, size, md5 FROM part WHERE upload = ?1 ORDER BY number")?
                    .query_map([&upload], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
                    .collect::<rusqlite::Result<_>>()?;
                let chosen = choose(&kept, &parts)?;
                let mut file = File::options().create_new(true).write(true).open(blobs.join(&whole))?;
                let mut md5 = Md5::new();
                for (_, blob, _, part_md5) in &chosen {
                    std::io::copy(&mut File::open(blobs.join(blob))?, &mut file)?;
                    md5.update(unhex(part_md5));
                }
                file.sync_all()?;
                File::open(blobs.as_path())?.sync_all()?;
                let object = Object {
                    key,
                    version: fresh_hex(),
                    size: chosen.iter().map(|(_, _, size, _)| size).sum(),
                    etag: format!("{}-{}", hex(&md5.finalize()), chosen.len()),
                    uploaded: now_ms(),
                    http: given.http,
                    custom: given.custom,
                    checksums: Checksums::default(),
                    storage_class: given.storage_class.unwrap_or_default(),
                };
                let transaction = index.0.transaction()?;
                let find = "SELECT blob FROM object WHERE bucket = ?1 AND key = ?2";
                let before: Option<String> = transaction.query_row(find, [&bucket, &object.key], |row| row.get(0)).optional()?;
                insert(&transaction, &bucket, &object, &whole)?;
                transaction.execute("DELETE FROM part WHERE upload = ?1", [&upload])?;
                transaction.execute("DELETE FROM upload WHERE id = ?1", [&upload])?;
                transaction.commit()?;
                let freed: Vec<String> = kept.into_iter().map(|(_, blob, _, _)| blob).chain(before).collect();
                Ok((object, freed))
            })
            .await;
        match completed {
            Ok((object, freed)) => {
                self.free(freed).await;
                Ok(object)
            }
            Err(error) => {
                // What was begun of it; there may be nothing.
                let _ = tokio::fs::remove_file(self.blobs.join(name)).await;
                Err(error)
            }
        }
    }

    /// Gives an upload up. One that is not there any more does not matter.
    pub(super) async fn abandon(&self, bucket: &str, key: &str, upload: &str) -> Result<(), R2Error> {
        let (bucket, key, upload) = (bucket.to_owned(), key.to_owned(), upload.to_owned());
        let freed = self
            .with(move |index| {
                let transaction = index.0.transaction()?;
                if given_of(&transaction, &bucket, &key, &upload).is_err() {
                    return Ok(Vec::new());
                }
                let freed = transaction
                    .prepare("DELETE FROM part WHERE upload = ?1 RETURNING blob")?
                    .query_map([&upload], |row| row.get(0))?
                    .collect::<rusqlite::Result<Vec<String>>>()?;
                transaction.execute("DELETE FROM upload WHERE id = ?1", [&upload])?;
                transaction.commit()?;
                Ok(freed)
            })
            .await?;
        self.free(freed).await;
        Ok(())
    }
}

type Kept = (u32, String, u64, String);

/// The named parts in their order, checked.
fn choose(kept: &[Kept], named: &[Named]) -> Result<Vec<Kept>, R2Error> {
    let numbers: BTreeSet<u32> = named.iter().map(|part| part.part).collect();
    if named.is_empty() || numbers.len() != named.len() {
        return Err(R2Error::InvalidPart);
    }
    let mut chosen = Vec::new();
    for part in named {
        let found = kept.iter().find(|(number, _, _, md5)| *number == part.part && *md5 == part.etag);
        chosen.push(found.ok_or(R2Error::InvalidPart)?.clone());
    }
    chosen.sort_by_key(|(number, ..)| *number);
    let Some(((_, _, last, _), others)) = chosen.split_last() else { return Err(R2Error::InvalidPart) };
    let Some((_, _, size, _)) = others.first() else { return Ok(chosen) };
    if *size < SMALLEST_PART {
        return Err(R2Error::TooSmall);
    }
    match others.iter().all(|(_, _, other, _)| other == size) && last <= size {
        true => Ok(chosen),
        false => Err(R2Error::BadUpload),
    }
}

/// What was given when an upload began.
fn given_of(connection: &rusqlite::Connection, bucket: &str, key: &str, upload: &str) -> Result<Given, R2Error> {
    let find = "SELECT http, custom, storage_class FROM upload WHERE id = ?1 AND bucket = ?2 AND key = ?3";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?));
    let found: Option<(String, String, String)> = connection.query_row(find, [upload, bucket, key], row).optional()?;
    let (http, custom, storage_class) = found.ok_or(R2Error::NoSuchUpload)?;
    Ok(Given {
        http: serde_json::from_str(&http).unwrap_or_default(),
        custom: serde_json::from_str(&custom).unwrap_or_default(),
        storage_class: Some(storage_class),
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).filter_map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_equally_large_but_for_the_last() {
        let kept = |sizes: &[u64]| -> Vec<Kept> {
            sizes.iter().zip(1..).map(|(size, number)| (number, String::new(), *size, format!("e{number}"))).collect()
        };
        let named = |numbers: &[u32]| -> Vec<Named> {
            numbers.iter().map(|part| Named { etag: format!("e{part}"), part: *part }).collect()
        };
        let large = SMALLEST_PART;
        assert_eq!(choose(&kept(&[large, large, 1]), &named(&[3, 1, 2])).unwrap()[0].0, 1);
        assert_eq!(choose(&kept(&[3]), &named(&[1])).unwrap().len(), 1);
        assert_eq!(choose(&kept(&[3, 3]), &named(&[1, 2])).unwrap_err(), R2Error::TooSmall);
        assert_eq!(choose(&kept(&[large, large + 1]), &named(&[1, 2])).unwrap_err(), R2Error::BadUpload);
        assert_eq!(choose(&kept(&[3]), &named(&[1, 1])).unwrap_err(), R2Error::InvalidPart);
        assert_eq!(choose(&kept(&[3]), &named(&[2])).unwrap_err(), R2Error::InvalidPart);
    }
}
