// SPDX-License-Identifier: Apache-2.0
// The words of program text, shared by the assembler and the parser of operator bodies. Lines and columns
// count from 1.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <invar/error.h>

namespace invar {

// A place in a text.
struct Place {
    std::size_t position = 0, line_begin = 0;
    int line = 1;
    int column() const { return static_cast<int>(position - line_begin) + 1; }
};

class Scanner {
public:
    Scanner(std::string_view text, std::string_view what) : text_(text), what_(what) {}

    // Skips blanks, comments, line ends and ';' up to the next statement; false at the end of the text.
    bool next_statement() {
        for (;;) {
            skip_blanks();
            if (position_ == text_.size()) return false;
            if (text_[position_] != '\n' && text_[position_] != ';') return true;
            step();
        }
    }
    // Nothing more may follow in this statement.
    void end_statement() {
        skip_blanks();
        if (position_ < text_.size() && text_[position_] != '\n' && text_[position_] != ';')
            fail("unexpected '" + printable(text_[position_]) +
                 "'; an instruction ends with its line or ';'");
    }
    bool at_end_of_statement() {
        skip_blanks();
        return position_ == text_.size() || text_[position_] == '\n' || text_[position_] == ';';
    }
    bool accept(char c) {
        skip_blanks();
        if (position_ == text_.size() || text_[position_] != c) return false;
        step();
        return true;
    }
    void expect(char c, const char* where) {
        if (!accept(c)) fail(std::string("expected '") + c + "' " + where);
    }
    // A name: letters, digits and '_', not beginning with a digit; empty if there is none. No more than 64
    // characters.
    std::string_view word() {
        skip_blanks();
        mark();
        const std::size_t begin = position_;
        while (position_ < text_.size() &&
               (is_letter(text_[position_]) || (position_ > begin && is_digit(text_[position_]))))
            step();
        const std::string_view w = text_.substr(begin, position_ - begin);
        if (w.size() > 64)
            fail("a name of " + std::to_string(w.size()) + " characters; at most 64 are allowed");
        return w;
    }
    // A name directly after a dot, as in the suffix of an instruction.
    std::string_view suffix() {
        if (position_ == text_.size() || text_[position_] != '.') return {};
        step();
        const std::size_t begin = position_;
        while (position_ < text_.size() && (is_letter(text_[position_]) || is_digit(text_[position_])))
            step();
        return text_.substr(begin, position_ - begin);
    }
    // The characters of a number, sign included; empty if there is none.
    std::string_view number() {
        skip_blanks();
        mark();
        const std::size_t begin = position_;
        std::size_t p = position_;
        if (p < text_.size() && text_[p] == '-') ++p;
        const bool word_follows = p > begin && (text_.substr(p, 3) == "inf" || text_.substr(p, 3) == "nan");
        if (p == text_.size() || !(is_digit(text_[p]) || text_[p] == '.' || word_follows)) return {};
        const bool hex = text_.substr(p, 2) == "0x" || text_.substr(p, 2) == "0X";
        while (p < text_.size() && (is_digit(text_[p]) || is_letter(text_[p]) || text_[p] == '.' ||
                                    (!hex && p > begin && (text_[p] == '-' || text_[p] == '+') &&
                                     (text_[p - 1] == 'e' || text_[p - 1] == 'E'))))
            ++p;
        while (position_ < p) step();
        return text_.substr(begin, position_ - begin);
    }
    int line() const { return line_; }
    Place place() {
        skip_blanks();
        return {position_, line_begin_, line_};
    }
    void go_to(const Place& p) {
        position_ = p.position;
        line_begin_ = p.line_begin;
        line_ = p.line;
        mark();
    }
    // Up to the end of the statement.
    void skip_statement() {
        for (skip_blanks(); position_ < text_.size() && text_[position_] != '\n' && text_[position_] != ';';
             skip_blanks())
            step();
    }
    // The place of the next failure: here.
    void mark() {
        mark_line_ = line_;
        mark_column_ = static_cast<int>(position_ - line_begin_) + 1;
    }
    // Fails at the last word or number that was read.
    [[noreturn]] void fail_at_mark(const std::string& message) const {
        throw FormatError(std::string(what_) + ": line " + std::to_string(mark_line_) + ", column " +
                          std::to_string(mark_column_) + ": " + message);
    }
    // Fails at the present position.
    [[noreturn]] void fail(const std::string& message) {
        mark();
        fail_at_mark(message);
    }

private:
    static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
    static bool is_digit(char c) { return c >= '0' && c <= '9'; }
    static std::string printable(char c) {
        if (c >= 32 && c < 127) return {c};
        const char digits[] = "0123456789abcdef";
        const auto u = static_cast<unsigned char>(c);
        return {'\\', 'x', digits[u >> 4], digits[u & 15]};
    }
    void step() {
        if (text_[position_] == '\n') {
            ++line_;
            line_begin_ = position_ + 1;
        }
        ++position_;
    }
    void skip_blanks() {
        while (position_ < text_.size()) {
            const char c = text_[position_];
            if (c == '/' && text_.substr(position_, 2) == "//") {
                while (position_ < text_.size() && text_[position_] != '\n') ++position_;
            } else if (c == ' ' || c == '\t' || c == '\r') {
                ++position_;
            } else {
                return;
            }
        }
    }

    std::string_view text_, what_;
    std::size_t position_ = 0, line_begin_ = 0;
    int line_ = 1, mark_line_ = 1, mark_column_ = 1;
};

}  // namespace invar
