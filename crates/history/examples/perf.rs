//! scratch
use selvedge_history::*;
use selvedge_protocol::*;
use std::time::Instant;
fn main() {
    let mut text = String::new();
    let base = std::fs::read_to_string("samples/story-0.169.0/home/sessions/2026/11/21/rollout-2026-11-21T09-08-57-01a1fd5d-add7-7c40-912f-9130719f1691.jsonl").unwrap();
    let leg = std::fs::read_to_string("samples/story-0.144.6/home/sessions/2026/11/21/rollout-2026-11-21T09-09-05-01a1fd5d-cbbd-7473-9f80-bbacfadca78c.jsonl").unwrap();
    for b in [base, leg] {
        text.clear();
        while text.len() < 50_000_000 { text.push_str(&b); }
        let t = Instant::now();
        let lines: Vec<_> = text.lines().map(|l| RolloutLine::parse(l).unwrap()).collect();
        println!("{} lines, parse {:?}", lines.len(), t.elapsed());
        let t = Instant::now();
        let mut r = Replay::new();
        for l in &lines { r.push_line(l); }
        let c = r.finish();
        println!("replay {:?} {}", t.elapsed(), c.history.len());
        let t = Instant::now();
        let mut r = TurnProjection::new();
        for (i, l) in lines.iter().enumerate() { r.push(i as u64, l); }
        println!("turns {:?} {}", t.elapsed(), r.finish().len());
        let t = Instant::now();
        let mut r = MetadataFold::new(ThreadId::new(Timestamp::default()), Timestamp::default());
        for l in &lines { r.observe_line(l); }
        println!("facts {:?}", t.elapsed());
    }
}
