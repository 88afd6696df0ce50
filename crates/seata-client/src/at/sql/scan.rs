//! A statement's tokens with their places in the text.

use std::ops::Range;

use sqlparser::ast::Statement;
use sqlparser::dialect::MySqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::{Part, Refusal};

/// A token that is not white space.
struct Lexeme {
    token: Token,
    /// Bytes of the text.
    place: Range<usize>,
    /// How many parentheses are open around it.
    depth: usize,
    /// How many parameters stand before it.
    before: usize,
}

/// A statement's text, tokens and syntax tree.
pub(super) struct Scan<'a> {
    sql: &'a str,
    lexemes: Vec<Lexeme>,
    pub(super) parameters: usize,
    /// `None` if the parser does not know this statement.
    pub(super) statement: Option<Statement>,
}

/// Longer chains of operators would need too much stack.
const CHAINED_MAX: usize = 2000;

const UNREADABLE: &str = "a statement that cannot be read";

/// Reads one statement. The parameters in its tree are numbered: `?0`, `?1`, …
pub(super) fn scan(sql: &str) -> Result<Scan<'_>, Refusal> {
    let refuse = |reason: String, way_out| Refusal::new(UNREADABLE, reason, way_out);
    if ["/*!", "/*M!", "/*+"].iter().any(|mark| sql.contains(mark)) {
        let reason = "comments that the server executes hide what it does".to_owned();
        return Err(refuse(reason, "write it without such comments"));
    }
    let way_out = "check its syntax, or execute it outside of global transactions";
    let mut tokens = Tokenizer::new(&MySqlDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| refuse(error.to_string(), way_out))?;
    let parameters = number_parameters(&mut tokens)
        .map_err(|token| refuse(format!("{token} is no parameter of MySQL"), "use `?`"))?;
    if chained(&tokens) > CHAINED_MAX {
        let reason = format!("more than {CHAINED_MAX} operators are chained");
        return Err(refuse(reason, "use IN (…), or several statements"));
    }
    let lexemes = lexemes(sql, &tokens);
    let mut parser = Parser::new(&MySqlDialect {}).with_tokens_with_locations(tokens);
    let mut statements = parser.parse_statements().unwrap_or_default();
    if statements.len() > 1 {
        let reason = "there is more than one statement".to_owned();
        return Err(refuse(reason, "execute them one by one"));
    }
    Ok(Scan {
        sql,
        lexemes,
        parameters,
        statement: statements.pop(),
    })
}

/// How many operators there are that make the syntax tree one deeper, however flat it is written.
fn chained(tokens: &[TokenWithSpan]) -> usize {
    let mut count = 0;
    let mut after_operand = false;
    for token in tokens {
        let token = &token.token;
        if matches!(token, Token::Whitespace(_)) {
            continue;
        }
        count += usize::from(match token {
            Token::Word(word) => {
                let operators = [Keyword::AND, Keyword::OR, Keyword::XOR, Keyword::NOT];
                word.quote_style.is_none() && operators.contains(&word.keyword)
            }
            Token::Plus | Token::Div | Token::Mul | Token::Mod | Token::StringConcat => true,
            // Not the sign of a number.
            Token::Minus => after_operand,
            _ => false,
        });
        after_operand = matches!(
            token,
            Token::Word(_) | Token::Number(..) | Token::Placeholder(_) | Token::RParen
        );
    }
    count
}

fn number_parameters(tokens: &mut [TokenWithSpan]) -> Result<usize, String> {
    let mut count = 0;
    for token in tokens {
        if let Token::Placeholder(text) = &mut token.token {
            if text != "?" {
                return Err(text.clone());
            }
            *text = format!("?{count}");
            count += 1;
        }
    }
    Ok(count)
}

fn lexemes(sql: &str, tokens: &[TokenWithSpan]) -> Vec<Lexeme> {
    let lines = lines(sql);
    let at = |location: Location| -> usize {
        let line = usize::try_from(location.line)
            .ok()
            .and_then(|n| n.checked_sub(1));
        let column = usize::try_from(location.column)
            .ok()
            .and_then(|n| n.checked_sub(1));
        line.zip(column)
            .and_then(|(line, column)| lines.get(line)?.get(column).copied())
            .unwrap_or(sql.len())
    };
    let (mut depth, mut before) = (0_usize, 0);
    let mut lexemes = Vec::new();
    for token in tokens {
        if matches!(token.token, Token::Whitespace(_) | Token::EOF) {
            continue;
        }
        if token.token == Token::RParen {
            depth = depth.saturating_sub(1);
        }
        lexemes.push(Lexeme {
            token: token.token.clone(),
            place: at(token.span.start)..at(token.span.end),
            depth,
            before,
        });
        match token.token {
            Token::LParen => depth += 1,
            Token::Placeholder(_) => before += 1,
            _ => {}
        }
    }
    while lexemes.last().is_some_and(|l| l.token == Token::SemiColon) {
        lexemes.pop();
    }
    lexemes
}

/// The byte offset of each character, line by line, with one more for each line's end.
fn lines(sql: &str) -> Vec<Vec<usize>> {
    let mut lines = vec![Vec::new()];
    for (offset, character) in sql.char_indices() {
        if let Some(line) = lines.last_mut() {
            line.push(offset);
        }
        if character == '\n' {
            lines.push(Vec::new());
        }
    }
    if let Some(line) = lines.last_mut() {
        line.push(sql.len());
    }
    lines
}

impl Scan<'_> {
    pub(super) fn len(&self) -> usize {
        self.lexemes.len()
    }

    /// The text of some tokens, with the parameters in it.
    pub(super) fn part(&self, range: Range<usize>) -> Part {
        let lexemes = self.lexemes.get(range).unwrap_or_default();
        let (Some(first), Some(last)) = (lexemes.first(), lexemes.last()) else {
            return Part {
                sql: String::new(),
                args: 0..0,
            };
        };
        let last_is_parameter = usize::from(matches!(last.token, Token::Placeholder(_)));
        let text = self.sql.get(first.place.start..last.place.end);
        Part {
            sql: text.unwrap_or_default().to_owned(),
            args: first.before..last.before + last_is_parameter,
        }
    }

    /// The first place from `from` on where this keyword stands outside of parentheses.
    pub(super) fn find(&self, keyword: Keyword, from: usize) -> Option<usize> {
        let is = |lexeme: &Lexeme| lexeme.depth == 0 && lexeme.is(keyword);
        let found = self.lexemes.get(from..)?.iter().position(is)?;
        Some(from + found)
    }

    /// Whether this keyword stands at that place.
    pub(super) fn is(&self, at: usize, keyword: Keyword) -> bool {
        self.lexemes
            .get(at)
            .is_some_and(|lexeme| lexeme.is(keyword))
    }

    /// Whether this keyword stands anywhere, also in parentheses.
    pub(super) fn has(&self, keyword: Keyword) -> bool {
        self.lexemes.iter().any(|lexeme| lexeme.is(keyword))
    }

    /// Whether one of these functions is called anywhere.
    pub(super) fn calls(&self, names: &[&str]) -> bool {
        let wanted = |lexeme: &Lexeme| {
            matches!(&lexeme.token, Token::Word(word)
                if names.iter().any(|name| word.value.eq_ignore_ascii_case(name)))
        };
        self.lexemes
            .windows(2)
            .any(|pair| matches!(pair, [word, open] if wanted(word) && open.token == Token::LParen))
    }

    /// The end of the parentheses that open at that place, one past the closing one.
    pub(super) fn closed(&self, open: usize) -> Option<usize> {
        let depth = self.lexemes.get(open)?.depth;
        let closes = |lexeme: &Lexeme| lexeme.depth == depth && lexeme.token == Token::RParen;
        let found = self.lexemes.get(open..)?.iter().position(closes)?;
        Some(open + found + 1)
    }

    pub(super) fn opens(&self, at: usize) -> bool {
        self.lexemes
            .get(at)
            .is_some_and(|l| l.token == Token::LParen)
    }

    pub(super) fn is_comma(&self, at: usize) -> bool {
        self.lexemes
            .get(at)
            .is_some_and(|l| l.token == Token::Comma)
    }

    /// The first word, in capitals.
    pub(super) fn first_word(&self) -> String {
        let first = self.lexemes.first().map(|lexeme| &lexeme.token);
        match first {
            Some(Token::Word(word)) => word.value.to_uppercase(),
            _ => String::new(),
        }
    }
}

impl Lexeme {
    fn is(&self, keyword: Keyword) -> bool {
        matches!(&self.token, Token::Word(word)
            if word.quote_style.is_none() && word.keyword == keyword)
    }
}
