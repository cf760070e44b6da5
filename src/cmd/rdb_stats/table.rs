//! Columns of text, aligned.

/// Text in columns.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
}

/// Where the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Between two columns.
const GAP: &str = "  ";

impl Table {
    /// With these heads: a leading `>` aligns a column to the right.
    pub(super) fn new(heads: &[&str]) -> Table {
        let align = |head: &&str| match head.starts_with('>') {
            true => Align::Right,
            false => Align::Left,
        };
        let texts = heads.iter().map(|head| head.trim_start_matches('>').to_owned());
        Table {
            columns: heads.iter().map(align).collect(),
            rows: vec![texts.collect()],
        }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.rows.push(cells.into());
    }

    /// Whether there is nothing but heads.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..self.columns.len()).filter_map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, align), width) in row.iter().zip(&self.columns).zip(&widths) {
                let blanks = " ".repeat(width - cell.chars().count());
                match align {
                    Align::Left => line.extend([cell, &blanks, GAP]),
                    Align::Right => line.extend([&blanks, cell, GAP]),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let mut table = Table::new(&["type", ">keys", "key"]);
        assert!(table.is_empty());
        table.row(["hash".into(), "1,000".into(), "é".into()]);
        table.row(["s".into(), "5".into(), String::new()]);
        assert_eq!(
            table.to_string(),
            "type   keys  key\nhash  1,000  é\ns         5\n"
        );
    }
}
