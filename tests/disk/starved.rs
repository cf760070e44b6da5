//! The database's own thread hardly ever gets a processor.
#![allow(unsafe_code)] // system calls that nothing else makes

use gunyu::core::catalog::Spill;

/// Bytes of this process that are no file's.
fn own_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// This thread and that one share a processor, and that one gets it when nobody else wants it.
fn starve(thread: i32) {
    // SAFETY: plain system calls with structures of this frame.
    unsafe {
        let (mut all, mut one): (libc::cpu_set_t, libc::cpu_set_t) = (std::mem::zeroed(), std::mem::zeroed());
        assert_eq!(libc::sched_getaffinity(0, size_of_val(&all), &raw mut all), 0);
        let mut usable = (0..libc::CPU_SETSIZE as usize).filter(|number| libc::CPU_ISSET(*number, &all));
        libc::CPU_SET(usable.next().unwrap(), &mut one);
        for id in [0, thread] {
            assert_eq!(libc::sched_setaffinity(id, size_of_val(&one), &raw const one), 0);
        }
        let param: libc::sched_param = std::mem::zeroed();
        assert_eq!(
            libc::sched_setscheduler(thread, libc::SCHED_IDLE, &raw const param),
            0
        );
    }
}

fn threads_of_databases() -> Vec<i32> {
    let all = std::fs::read_dir("/proc/self/task").unwrap();
    let all = all.map(|entry| entry.unwrap().path());
    let name = |path: &std::path::PathBuf| std::fs::read_to_string(path.join("comm")).unwrap_or_default();
    all.filter(|path| name(path).starts_with("fjall"))
        .map(|path| path.file_name().unwrap().to_str().unwrap().parse().unwrap())
        .collect()
}

/// It kept all rows in memory from then on.
#[test]
fn a_database_whose_thread_is_late_keeps_few_rows_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let others = threads_of_databases();
    let spill = Spill::open(folder.path()).unwrap();
    let table = spill.table("t").unwrap();
    let mut threads = threads_of_databases();
    threads.retain(|one| !others.contains(one));
    let [thread] = threads[..] else {
        panic!("{threads:?}");
    };
    let before = own_bytes();
    starve(thread);
    for number in 0..1_000_000_u64 {
        let key = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
        table.insert([(0, &key[..], &b""[..])]).unwrap();
        if number % 10_000 == 0 {
            let more = own_bytes().saturating_sub(before);
            if more > 48 << 20 {
                // To close it may take for ever.
                std::mem::forget((spill.clone(), table.clone()));
                std::mem::forget((spill, table, folder));
                panic!("{more} bytes more after {number} rows");
            }
        }
    }
    assert_eq!(table.count().unwrap(), 1_000_000);
}
