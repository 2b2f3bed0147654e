use selvedge_protocol::*;
use selvedge_rollout::*;
use selvedge_state::*;
use std::time::Instant;
fn main() {
    let t = Instant::now();
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    rt.block_on(async {
        println!("rt {:?}", t.elapsed());
        let home = RolloutHome::new("/tmp/big");
        let t = Instant::now();
        let i = StateIndex::open(&home, &StateIndex::path_in(&home)).await.unwrap();
        println!("open {:?}", t.elapsed());
        let t = Instant::now();
        i.checked_at().await.unwrap();
        println!("checked {:?}", t.elapsed());
        let t = Instant::now();
        home.files().unwrap();
        println!("walk {:?}", t.elapsed());
        for _ in 0..4 {
            let t = Instant::now();
            let f = i.refresh(1 << 20).await.unwrap();
            println!("refresh {:?} {f:?}", t.elapsed());
            let t = Instant::now();
            let p = i.list_threads(&ThreadQuery::default()).await.unwrap();
            println!("list {:?} {}", t.elapsed(), p.items.len());
        }
        let t = Instant::now();
        i.close().await;
        println!("close {:?}", t.elapsed());
    });
    let t = Instant::now();
    drop(rt);
    println!("drop {:?}", t.elapsed());
}
