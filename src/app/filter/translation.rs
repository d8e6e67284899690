//! What it takes to translate a pattern's classes, told before it is done.
//!
//! The bound of a compiled pattern counts what comes out. Before that each class is made a set of ranges, and where case does
//! not count every code point of it is looked up for its other forms: a class of eight bytes may have a million, and a
//! pattern a hundred of such classes.

use regex_syntax::ast::parse::ParserBuilder as AstParserBuilder;
use regex_syntax::ast::{
    Ast, ClassSetBinaryOp, ClassSetItem, Flag, Flags, FlagsItemKind, GroupKind, Span, Visitor, visit,
};
use regex_syntax::hir::{Class, ClassUnicodeRange, Hir, HirKind};

/// A range that is sorted into a set takes as long as so many code points that are looked up.
const RANGE: usize = 2;
/// All that there are.
const CODE_POINTS: usize = 0x11_0000;

/// How many code points are looked up at the most to translate a pattern, some twenty nanoseconds each; none for what is no
/// regular expression, and `None` for more than `most`. `nesting`: how deep it may be.
pub(super) fn work(pattern: &str, nesting: u32, most: usize) -> Option<usize> {
    let Ok(ast) = AstParserBuilder::new().nest_limit(nesting).build().parse(pattern) else { return Some(0) };
    visit(&ast, Counter { pattern, folds: false, depth: 1, work: 0, most }).ok()
}

/// There is more than is asked for: the rest is not counted.
struct More;

struct Counter<'a> {
    pattern: &'a str,
    /// Case does not count, in a part of what came so far.
    folds: bool,
    /// Of brackets within each other: each may translate once more what is in it.
    depth: usize,
    work: usize,
    most: usize,
}

impl Counter<'_> {
    fn flags(&mut self, flags: &Flags) {
        let is_i = |kind: &FlagsItemKind| matches!(kind, FlagsItemKind::Flag(Flag::CaseInsensitive));
        self.folds |= flags.items.iter().any(|item| is_i(&item.kind));
    }

    /// A set of so many ranges and code points.
    fn set(&mut self, ranges: usize, code_points: usize) -> Result<(), More> {
        let each = RANGE * ranges + if self.folds { code_points } else { 0 };
        self.work = self.work.saturating_add(each * self.depth);
        if self.work > self.most { Err(More) } else { Ok(()) }
    }

    /// A class that is written as a name, such as `\w`.
    fn named(&mut self, span: &Span) -> Result<(), More> {
        let text = self.pattern.get(span.start.offset..span.end.offset).unwrap_or_default();
        let parsed = regex_syntax::ParserBuilder::new().utf8(false).build().parse(text);
        let (ranges, code_points) = match parsed.as_ref().map(Hir::kind) {
            Ok(HirKind::Class(Class::Unicode(class))) => {
                (class.ranges().len(), class.iter().map(ClassUnicodeRange::len).sum())
            }
            _ => (1, CODE_POINTS),
        };
        self.set(ranges, code_points)
    }
}

impl Visitor for Counter<'_> {
    type Output = usize;
    type Err = More;

    fn finish(self) -> Result<usize, More> {
        Ok(self.work)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), More> {
        match ast {
            Ast::Flags(set) => self.flags(&set.flags),
            Ast::Group(group) => {
                if let GroupKind::NonCapturing(flags) = &group.kind {
                    self.flags(flags);
                }
            }
            Ast::ClassUnicode(class) => self.named(&class.span)?,
            Ast::ClassPerl(class) => self.named(&class.span)?,
            Ast::Empty(_)
            | Ast::Literal(_)
            | Ast::Dot(_)
            | Ast::Assertion(_)
            | Ast::ClassBracketed(_)
            | Ast::Repetition(_)
            | Ast::Alternation(_)
            | Ast::Concat(_) => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), More> {
        match item {
            ClassSetItem::Empty(_) | ClassSetItem::Union(_) => {}
            ClassSetItem::Literal(_) => self.set(1, 1)?,
            ClassSetItem::Range(range) => {
                let (start, end) = (u32::from(range.start.c), u32::from(range.end.c));
                self.set(1, usize::try_from(end.saturating_sub(start)).unwrap_or(CODE_POINTS) + 1)?;
            }
            ClassSetItem::Ascii(_) => self.set(2, 128)?,
            ClassSetItem::Unicode(class) => self.named(&class.span)?,
            ClassSetItem::Perl(class) => self.named(&class.span)?,
            ClassSetItem::Bracketed(class) => {
                if class.negated {
                    self.set(1, CODE_POINTS)?;
                }
                self.depth += 1;
            }
        }
        Ok(())
    }

    fn visit_class_set_item_post(&mut self, item: &ClassSetItem) -> Result<(), More> {
        self.depth -= usize::from(matches!(item, ClassSetItem::Bracketed(_)));
        Ok(())
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ClassSetBinaryOp) -> Result<(), More> {
        self.depth += 1;
        Ok(())
    }

    fn visit_class_set_binary_op_post(&mut self, _: &ClassSetBinaryOp) -> Result<(), More> {
        self.depth -= 1;
        Ok(())
    }
}
