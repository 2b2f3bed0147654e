//! The index of every recorded home.

use crate::homes::{dump, rebuilt, recorded, rows};

#[tokio::test]
async fn every_recorded_thread_has_a_row() {
    let recorded = recorded();
    assert!(recorded.len() > 20);
    for (name, home) in recorded {
        let index = home.index().await;
        let report = index.update(|_| {}).await.unwrap();
        let rows = rows(&index).await;
        assert_eq!(rows.len(), home.home.files().unwrap().threads().count(), "{name}");
        assert_eq!((report.read_whole as usize, report.unreadable), (rows.len(), 0), "{name}");
        for row in &rows {
            assert!(std::path::Path::new(row.location.as_ref().unwrap()).is_file(), "{name}");
            assert_eq!(index.read_thread(row.id).await.unwrap().as_ref(), Some(row), "{name}");
        }
        let again = index.update(|_| {}).await.unwrap();
        assert_eq!((again.read_whole, again.read_tail, again.bytes_read), (0, 0, 0), "{name}");
        assert_eq!(dump(&home.index_path()).await, rebuilt(&home).await, "{name}");
    }
}
