//! The arithmetic of pages.

use selvedge_protocol::{Cursor, ItemPosition, Page, PageWindow, SortDirection, ZeroLimit, check_limit};

use SortDirection::{Ascending, Descending};

/// Returns all pages of the numbers below `count`, with `limit` numbers on each.
fn pages(direction: SortDirection, count: u64, limit: usize) -> Vec<Vec<u64>> {
    let mut pages = Vec::new();
    let mut cursor = None;
    loop {
        let window = PageWindow::new(direction, cursor.as_ref()).unwrap();
        let found = window.in_order((0..count).filter(|position| window.holds(*position)));
        let page = Page::first_of(found, limit, |last| window.cursor_after(*last));
        pages.push(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return pages;
        }
    }
}

#[test]
fn pages_contain_every_entry_once_and_the_last_has_no_cursor() {
    assert_eq!(pages(Ascending, 5, 2), [vec![0, 1], vec![2, 3], vec![4]]);
    assert_eq!(pages(Descending, 5, 2), [vec![4, 3], vec![2, 1], vec![0]]);
    assert_eq!(pages(Ascending, 4, 2), [vec![0, 1], vec![2, 3]]);
    assert_eq!(pages(Descending, 0, 2), [Vec::<u64>::new()]);
}

#[test]
fn a_limit_of_zero_is_refused() {
    assert_eq!(check_limit(0), Err(ZeroLimit));
    assert_eq!(check_limit(1), Ok(()));
    assert_eq!(ZeroLimit.to_string(), "a page must have room for at least one entry");
}

#[test]
fn a_cursor_of_another_query_makes_no_window() {
    let cursor = Cursor::from("t1.ud.0.x".to_owned());
    assert!(PageWindow::new(Ascending, Some(&cursor)).is_err());
}

#[test]
fn the_position_of_an_item_packs_the_indexes_of_turn_and_item() {
    let position = ItemPosition { turn: 3, item: 7 };
    assert_eq!(position.position(), (3 << 32) + 7);
    assert_eq!(ItemPosition::of(position.position()), position);
    let to_turn_window = |direction, turn, item| {
        PageWindow { direction, bound: Some(ItemPosition { turn, item }.position()) }.to_turn_window().bound
    };
    // A descending window contains the turn of the bound, unless the bound is its first item.
    assert_eq!(to_turn_window(Ascending, 3, 7), Some(3));
    assert_eq!(to_turn_window(Descending, 3, 7), Some(4));
    assert_eq!(to_turn_window(Descending, 3, 0), Some(3));
}
