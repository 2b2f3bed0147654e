//! The arithmetic of pages.

use selvedge_protocol::{Cursor, EmptyPage, ItemPosition, Page, PageWindow, SortDirection, check_limit};

use SortDirection::{Ascending, Descending};

/// The pages of the numbers below `count`, `limit` on each.
fn pages(direction: SortDirection, count: u64, limit: usize) -> Vec<Vec<u64>> {
    let mut pages = Vec::new();
    let mut cursor = None;
    loop {
        let window = PageWindow::new(direction, cursor.as_ref()).unwrap();
        let found = window.in_order((0..count).filter(|position| window.holds(*position)));
        let page = Page::first_of(found, limit, |last| window.cursor_behind(*last));
        pages.push(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return pages;
        }
    }
}

#[test]
fn pages_give_everything_once_and_say_when_they_end() {
    assert_eq!(pages(Ascending, 5, 2), [vec![0, 1], vec![2, 3], vec![4]]);
    assert_eq!(pages(Descending, 5, 2), [vec![4, 3], vec![2, 1], vec![0]]);
    assert_eq!(pages(Ascending, 4, 2), [vec![0, 1], vec![2, 3]]);
    assert_eq!(pages(Descending, 0, 2), [Vec::<u64>::new()]);
}

#[test]
fn a_page_has_room() {
    assert_eq!(check_limit(0), Err(EmptyPage));
    assert_eq!(check_limit(1), Ok(()));
    assert_eq!(EmptyPage.to_string(), "a page must have room for at least one entry");
}

#[test]
fn a_cursor_of_something_else_opens_no_window() {
    let cursor = Cursor::from("t1.ud.0.x".to_owned());
    assert!(PageWindow::new(Ascending, Some(&cursor)).is_err());
}

#[test]
fn the_place_of_an_item_is_its_turn_and_its_place_in_it() {
    let place = ItemPosition { turn: 3, item: 7 };
    assert_eq!(place.position(), (3 << 32) + 7);
    assert_eq!(ItemPosition::of(place.position()), place);
    let of_turns = |direction, turn, item| {
        PageWindow { direction, bound: Some(ItemPosition { turn, item }.position()) }.of_turns().bound
    };
    // Descending, the turn of the bound is one of them, unless the bound is its first item.
    assert_eq!(of_turns(Ascending, 3, 7), Some(3));
    assert_eq!(of_turns(Descending, 3, 7), Some(4));
    assert_eq!(of_turns(Descending, 3, 0), Some(3));
}
