// SPDX-License-Identifier: Apache-2.0
// From text to programs. The grammar stands in program.h. What a statement means by itself is checked here,
// with line and column; what holds for a whole program is left to the verifier.
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "device/module.h"
#include "program/labels.h"
#include "program/number.h"
#include "program/optimize/optimize.h"
#include "program/program.h"
#include "program/scanner.h"

namespace invar {
namespace {

constexpr std::size_t kMaxPrograms = 1024;
constexpr int kMaxFunctionValues = 16, kMaxCallDepth = 16;

class Assembler {
    using Names = std::map<std::string, int>;

public:
    explicit Assembler(std::string_view text) : scan_(text, "program") {}

    std::vector<Program> run() {
        std::vector<Program> done;
        std::set<std::string> names;
        while (scan_.next_statement()) {
            if (scan_.accept('.')) {
                const std::string_view directive = scan_.word();
                if (directive == "program" || directive == "function") {
                    if (open_) done.push_back(finish());
                    if (function_ != nullptr) end_function();
                    if (directive == "function") {
                        begin_function();
                    } else {
                        if (done.size() == kMaxPrograms)
                            scan_.fail_at_mark("more than 1024 programs in one text");
                        begin_program(names);
                    }
                } else if (directive == "in" || directive == "out") {
                    value_of_function(directive == "in");
                } else if (directive != "param" && directive != "shared" && directive != "acc" &&
                           directive != "block") {
                    scan_.fail_at_mark(
                        "unknown directive '." + std::string(directive) +
                        "'; there are .program, .param, .shared, .acc, .block, .function, .in and .out");
                } else if (!open_) {
                    scan_.fail_at_mark("'." + std::string(directive) + "' before '.program'");
                } else if (!statements_.empty()) {
                    scan_.fail_at_mark("parameters stand before the first instruction, as all directives do");
                } else if (directive == "param") {
                    parameter();
                } else if (directive == "shared") {
                    shared_array();
                } else if (directive == "acc") {
                    accumulator();
                } else {
                    block();
                }
            } else {
                if (!open_ && function_ == nullptr)
                    scan_.fail("an instruction before '.program'; begin with '.program NAME'");
                statement();
            }
            scan_.end_statement();
        }
        if (open_) done.push_back(finish());
        if (function_ != nullptr) end_function();
        if (done.empty()) scan_.fail("no program in the text; begin with '.program NAME'");
        return done;
    }

private:
    void begin_program(std::set<std::string>& names) {
        program_ = {};
        registers_.clear();
        parameters_.clear();
        shared_.clear();
        accumulators_.clear();
        statements_.clear();
        enclosing_.clear();
        calls_ = 0;
        const std::string_view name = scan_.word();
        if (name.empty()) scan_.fail_at_mark("expected the program's name");
        program_.name = name;
        if (!names.insert(program_.name).second)
            scan_.fail_at_mark("a second program of the name '" + program_.name + "'");
        open_ = true;
    }

    // A function is text that CALL puts in its place, with registers of its own: there is none that calls itself.
    struct Value {
        std::string name;
        DType type;
    };
    struct Function {
        std::vector<Value> in, out;
        std::vector<Statement> statements;
        std::vector<Piece> pieces;  // the same in structured form
        Place end;
    };
    // The label behind a function's last instruction, where RET goes; no text can name it.
    static constexpr const char* kReturn = "the end of the function";

    void begin_function() {
        const std::string name(scan_.word());
        if (name.empty()) scan_.fail_at_mark("expected the function's name");
        if (functions_.size() == kMaxPrograms) scan_.fail_at_mark("more than 1024 functions in one text");
        const auto [at, added] = functions_.emplace(name, Function{});
        if (!added) scan_.fail_at_mark("a second function '" + name + "'");
        function_ = &at->second;
        parameters_.clear();
        shared_.clear();
        accumulators_.clear();
    }
    void value_of_function(bool in) {
        if (function_ == nullptr) scan_.fail_at_mark("'.in' and '.out' stand behind '.function NAME'");
        if (!function_->statements.empty())
            scan_.fail_at_mark("'.in' and '.out' stand before the function's first instruction");
        Value v;
        v.name = target();
        for (const std::vector<Value>* values : {&function_->in, &function_->out})
            for (const Value& other : *values)
                if (other.name == v.name)
                    scan_.fail_at_mark("a second value '" + v.name + "' of the function");
        scan_.expect(':', "after the value's name");
        const std::string type(scan_.word());
        const auto found = find_type(type);
        if (!found || (kTypesCompute & type_bit(*found)) == 0)
            scan_.fail_at_mark("'" + type + "' is no type of a register");
        v.type = *found;
        std::vector<Value>& values = in ? function_->in : function_->out;
        if (values.size() == std::size_t{kMaxFunctionValues})
            scan_.fail_at_mark("more than 16 values go into a function, or come out of it");
        values.push_back(std::move(v));
    }
    void end_function() {
        std::vector<Statement>& all = function_->statements;
        if (!all.empty() && all.back().kind == Statement::Kind::branch && all.back().name == kReturn &&
            all.back().condition.empty())
            all.pop_back();
        Statement end;
        end.kind = Statement::Kind::label;
        end.place = scan_.place();
        end.name = kReturn;
        function_->end = end.place;
        all.push_back(std::move(end));
        function_->pieces = structure(all);
        function_ = nullptr;
    }

    // "CALL name, results..., arguments...": the function's instructions, between copies of what goes in and comes out.
    void call() {
        const std::string name(scan_.word());
        const auto found = functions_.find(name);
        if (found == functions_.end())
            scan_.fail_at_mark("there is no function '" + name + "' before this program");
        const Function& f = found->second;
        if (++calls_ > kMaxProgramInstructions) scan_.fail_at_mark("more than 1024 calls in one program");
        if (depth_ == kMaxCallDepth) scan_.fail_at_mark("functions call each other more than 16 deep");
        const int line = scan_.line();
        const std::string wanted = " of function '" + name + "', which gives " +
                                   std::to_string(f.out.size()) + " and takes " + std::to_string(f.in.size());
        std::vector<std::string> results;
        for (const Value& v : f.out) {
            scan_.expect(',', ("before result '" + v.name + "'" + wanted).c_str());
            results.push_back(target());
        }
        Names inside;
        for (const Value& v : f.in) {
            scan_.expect(',', ("before argument '" + v.name + "'" + wanted).c_str());
            inside[v.name] = copy(operand(v.type), v.type, line);
        }
        scan_.end_statement();
        const Place behind = scan_.place();
        std::swap(registers_, inside);  // from here on inside has the caller's
        const Names parameters = std::exchange(parameters_, {}), shared = std::exchange(shared_, {}),
                    accumulators = std::exchange(accumulators_, {});
        const std::size_t outer = std::exchange(base_, enclosing_.size());
        ++depth_;
        for (const Piece& piece : f.pieces) {
            scan_.go_to(piece.place);
            control_or_statement(piece);
        }
        std::vector<Operand> values;
        scan_.go_to(f.end);
        for (const Value& v : f.out) {
            const auto r = registers_.find(v.name);
            if (r == registers_.end() || program_.registers[static_cast<std::size_t>(r->second)] != v.type)
                scan_.fail("function '" + name + "' ends without a value '" + v.name + "' of " +
                           std::string(dtype_name(v.type)));
            values.push_back({Operand::Kind::reg, static_cast<std::uint64_t>(r->second)});
        }
        --depth_;
        base_ = outer;
        parameters_ = parameters;
        shared_ = shared;
        accumulators_ = accumulators;
        registers_ = std::move(inside);
        scan_.go_to(behind);
        for (std::size_t k = 0; k < results.size(); ++k)
            move(values[k], f.out[k].type, destination(results[k], f.out[k].type), line);
    }
    void move(const Operand& from, DType type, std::int32_t to, int line) {
        Instruction i;
        i.opcode = Opcode::MOV;
        i.type = type;
        i.line = line;
        i.dst = to;
        i.src[0] = from;
        append(i);
    }
    std::int32_t copy(const Operand& from, DType type, int line) {
        const std::int32_t to = made(type);
        move(from, type, to, line);
        return to;
    }
    // A register without a name.
    std::int32_t made(DType type) {
        program_.registers.push_back(type);
        return static_cast<std::int32_t>(program_.registers.size()) - 1;
    }

    Program finish() {
        open_ = false;
        const Place end = scan_.place();
        for (const Piece& piece : structure(statements_)) {
            scan_.go_to(piece.place);
            control_or_statement(piece);
        }
        scan_.go_to(end);
        Program p = std::exchange(program_, {});
        verify(p);
        return p;
    }

    void parameter() {
        const std::string name(scan_.word());
        if (name.empty()) scan_.fail_at_mark("expected the parameter's name");
        if (program_.parameters.size() >= std::size_t{kMaxProgramBuffers} + kMaxProgramScalars)
            scan_.fail_at_mark("too many parameters");
        declare(parameters_, name, program_.parameters.size());
        scan_.expect(':', "after the parameter's name");
        Parameter p;
        p.name = name;
        const std::string_view type = scan_.word();
        if (const auto t = find_type(type)) {
            p.dtype = *t;
        } else {
            scan_.fail_at_mark("unknown type '" + std::string(type) + "'");
        }
        p.buffer = scan_.accept('*');
        if (const std::string_view word = scan_.word(); word == "strided" && p.buffer) {
            p.strided = true;
        } else if (!word.empty()) {
            scan_.fail_at_mark("unexpected '" + std::string(word) + "'; only a buffer may be 'strided'");
        }
        program_.parameters.push_back(std::move(p));
    }

    // A name that nothing else of the program has.
    bool is_declared(const std::string& name) const {
        return parameters_.contains(name) || shared_.contains(name) || accumulators_.contains(name);
    }
    void declare(Names& names, const std::string& name, std::size_t number) const {
        if (is_declared(name)) scan_.fail_at_mark("a second parameter '" + name + "'");
        names.emplace(name, static_cast<int>(number));
    }

    // The positive whole number that stands here.
    std::uint64_t size(const char* what) {
        const std::string_view text = scan_.number();
        std::uint64_t value = 0;
        std::string error;
        if (text.empty() || !parse_immediate(text, DType::u32, value, error) || value == 0)
            scan_.fail_at_mark(std::string("expected ") + what + ", a whole number from 1 on");
        return value;
    }

    void shared_array() {
        SharedArray a;
        a.name = scan_.word();
        if (a.name.empty()) scan_.fail_at_mark("expected the shared array's name");
        if (program_.shared.size() >= std::size_t{kMaxSharedArrays})
            scan_.fail_at_mark("too many shared arrays");
        declare(shared_, a.name, program_.shared.size());
        scan_.expect(':', "after the array's name");
        const std::string_view type = scan_.word();
        if (const auto t = find_type(type)) {
            a.dtype = *t;
        } else {
            scan_.fail_at_mark("unknown type '" + std::string(type) + "'");
        }
        scan_.expect('[', "before the number of elements");
        a.count = static_cast<std::int64_t>(size("the number of elements"));
        if (scan_.accept(',')) {
            a.columns = static_cast<std::int64_t>(size("the columns of the tile"));
            if (a.count > kMaxSharedBytes || a.columns > kMaxSharedBytes)
                scan_.fail_at_mark("tile '" + a.name + "' is larger than shared memory");
            a.count *= a.columns;
        }
        scan_.expect(']', "after the number of elements");
        program_.shared.push_back(std::move(a));
    }

    void accumulator() {
        Accumulator a;
        a.name = scan_.word();
        if (a.name.empty()) scan_.fail_at_mark("expected the accumulator's name");
        if (program_.accumulators.size() >= std::size_t{kMaxAccumulators})
            scan_.fail_at_mark("too many accumulators");
        declare(accumulators_, a.name, program_.accumulators.size());
        scan_.expect(':', "after the accumulator's name");
        if (scan_.word() != "f32") scan_.fail_at_mark("an accumulator is of f32");
        scan_.expect('[', "before the number of rows");
        a.rows = static_cast<std::int64_t>(size("the rows of the accumulator"));
        scan_.expect(',', "before the number of columns");
        a.columns = static_cast<std::int64_t>(size("the columns of the accumulator"));
        scan_.expect(']', "after the number of columns");
        program_.accumulators.push_back(std::move(a));
    }

    void block() {
        if (program_.block[0] != 0) scan_.fail_at_mark("a second .block");
        program_.block = {1, 1, 1};
        for (std::size_t d = 0; d < 3; ++d) {
            program_.block[d] = static_cast<std::uint32_t>(size("the lanes of a block"));
            if (!scan_.accept(',')) break;
        }
    }

    // Takes note of a statement; what it means is found when all of the program are known.
    void statement() {
        std::vector<Statement>& statements = function_ != nullptr ? function_->statements : statements_;
        if (statements.size() >= std::size_t{4} * kMaxProgramInstructions)
            scan_.fail("more than " + std::to_string(4 * kMaxProgramInstructions) + " statements");
        Statement s;
        s.place = scan_.place();
        if (scan_.accept('@')) {
            s.negated = scan_.accept('!');
            s.condition = scan_.word();
        }
        const std::string word(scan_.word());
        if (word == "BRA") {
            s.kind = Statement::Kind::branch;
            s.name = scan_.word();
            if (s.name.empty()) scan_.fail("expected a label");
        } else if (word == "RET") {
            if (function_ == nullptr)
                scan_.fail_at_mark("RET outside a function; lanes of a program end with EXIT");
            s.kind = Statement::Kind::branch;
            s.name = kReturn;
        } else if (s.condition.empty() && !word.empty() && scan_.accept(':')) {
            s.kind = Statement::Kind::label;
            s.name = word;
            statements.push_back(std::move(s));
            // An instruction may follow on the same line.
            if (!scan_.at_end_of_statement()) statement();
            return;
        } else {
            if (s.condition.empty()) s.kind = marker(word);
            scan_.skip_statement();
        }
        statements.push_back(std::move(s));
    }

    static Statement::Kind marker(const std::string& word) {
        static const std::map<std::string, Statement::Kind> kMarkers = {
            {"IF", Statement::Kind::begin_if},
            {"ELSE", Statement::Kind::begin_else},
            {"ENDIF", Statement::Kind::end_if},
            {"LOOP", Statement::Kind::begin_loop},
            {"ENDLOOP", Statement::Kind::end_loop}};
        const auto found = kMarkers.find(word);
        return found == kMarkers.end() ? Statement::Kind::plain : found->second;
    }

    void control_or_statement(const Piece& piece) {
        const auto control = [&](Opcode opcode) {
            Instruction i;
            i.opcode = opcode;
            i.line = scan_.line();
            return i;
        };
        switch (piece.kind) {
            case Piece::Kind::statement: instruction(); return scan_.end_statement();
            case Piece::Kind::begin_if:
                return append(control(Opcode::IF), condition(piece.condition, piece.negated));
            case Piece::Kind::begin_else: return append(control(Opcode::ELSE));
            case Piece::Kind::end_if: return append(control(Opcode::ENDIF));
            case Piece::Kind::begin_loop: return append(control(Opcode::LOOP));
            case Piece::Kind::end_loop: return append(control(Opcode::ENDLOOP));
            case Piece::Kind::leave:
            case Piece::Kind::again: {
                const Opcode opcode = piece.kind == Piece::Kind::leave ? Opcode::BREAK : Opcode::CONTINUE;
                return append(control(opcode), piece.condition.empty()
                                                   ? Operand{}
                                                   : condition(piece.condition, piece.negated));
            }
        }
    }

    // A pred register, or a new one that is its opposite; an empty name is false.
    Operand condition(const std::string& name, bool negated) {
        if (name.empty()) return {Operand::Kind::immediate, 0};
        const auto r = registers_.find(name);
        if (r == registers_.end()) scan_.fail_at_mark("the condition '" + name + "' has not been written");
        if (program_.registers[static_cast<std::size_t>(r->second)] != DType::pred)
            scan_.fail_at_mark("the condition '" + name + "' is no pred");
        const Operand p{Operand::Kind::reg, static_cast<std::uint64_t>(r->second)};
        if (!negated) return p;
        Instruction i;
        i.opcode = Opcode::NOT;
        i.type = DType::pred;
        i.line = scan_.line();
        i.src[0] = p;
        i.dst = made(DType::pred);
        append(i);
        return {Operand::Kind::reg, static_cast<std::uint64_t>(i.dst)};
    }

    // Adds an instruction, and opens or ends the scope that it opens or ends.
    void append(Instruction i, Operand first = {}) {
        if (first.kind != Operand::Kind::none) i.src[0] = first;
        if (program_.instructions.size() >= static_cast<std::size_t>(kMaxProgramInstructions))
            scan_.fail_at_mark("more than " + std::to_string(kMaxProgramInstructions) + " instructions");
        const bool closes =
            i.opcode == Opcode::ELSE || i.opcode == Opcode::ENDIF || i.opcode == Opcode::ENDLOOP;
        if (depth_ > 0 && (i.opcode == Opcode::BREAK || i.opcode == Opcode::CONTINUE)) stays_inside();
        if (closes && !enclosing_.empty()) {
            registers_ = enclosing_.back().registers;
            if (i.opcode != Opcode::ELSE) enclosing_.pop_back();
        }
        if (i.opcode == Opcode::IF || i.opcode == Opcode::LOOP) {
            if (enclosing_.size() >= std::size_t{kMaxNesting})
                scan_.fail_at_mark("IF and LOOP nested too deeply");
            enclosing_.push_back({registers_, i.opcode == Opcode::LOOP});
        }
        program_.instructions.push_back(i);
    }

    // BREAK and CONTINUE in a function are of its own loops; structure() sees to the rest.
    void stays_inside() const {
        for (std::size_t k = base_; k < enclosing_.size(); ++k)
            if (enclosing_[k].loop) return;
        scan_.fail_at_mark("stands in no LOOP of this function");
    }

    // The register that an instruction writes: a new one, or inside IF and LOOP the one of that name.
    std::int32_t destination(const std::string& name, DType type) {
        if (const auto r = registers_.find(name); r != registers_.end() && !enclosing_.empty()) {
            const Names& around = enclosing_.back().registers;
            const bool outer = around.contains(name) && around.at(name) == r->second;
            if (program_.registers[static_cast<std::size_t>(r->second)] == type) return r->second;
            if (outer)
                scan_.fail_at_mark(
                    "'" + name + "' is " +
                    std::string(dtype_name(program_.registers[static_cast<std::size_t>(r->second)])) +
                    " outside this IF or LOOP and cannot become " + std::string(dtype_name(type)));
        }
        return registers_[name] = made(type);
    }

    // The place and index of "[name + index]".
    void address(Instruction& i) {
        scan_.expect('[', "before the address");
        const std::string name(scan_.word());
        if (const auto a = shared_.find(name);
            a != shared_.end() && i.opcode != Opcode::LDG && i.opcode != Opcode::STG && !is_tile(i.opcode)) {
            const SharedArray& array = program_.shared[static_cast<std::size_t>(a->second)];
            if (array.dtype != i.type) wrong_type(name, array.dtype, i.type);
            i.buffer = a->second;
            i.shared = true;
            return index(i);
        }
        const auto found = parameters_.find(name);
        if (found == parameters_.end()) scan_.fail_at_mark("'" + name + "' is no parameter");
        if (i.opcode == Opcode::LDS || i.opcode == Opcode::STS)
            scan_.fail_at_mark("'" + name + "' is no shared array; parameters are for LDG and STG");
        Parameter& p = program_.parameters[static_cast<std::size_t>(found->second)];
        if (!p.buffer) scan_.fail_at_mark("'" + name + "' is a scalar, it has no address");
        if (p.dtype != i.type) wrong_type(name, p.dtype, i.type);
        i.buffer = found->second;
        p.access = p.access | access_of(i.opcode);
        index(i);
    }
    [[noreturn]] void wrong_type(const std::string& name, DType holds, DType named) const {
        scan_.fail_at_mark("'" + name + "' holds " + std::string(dtype_name(holds)) +
                           ", the instruction names " + std::string(dtype_name(named)));
    }
    void index(Instruction& i) {
        scan_.expect('+', "between buffer and index");
        if (const std::string_view n = scan_.number(); !n.empty()) {
            i.address.kind = Operand::Kind::immediate;
            std::string error;
            if (!parse_immediate(n, DType::i64, i.address.value, error)) scan_.fail_at_mark(error);
        } else {
            const std::string word(scan_.word());
            if (word == "gid") {
                i.address.kind = Operand::Kind::gid;
            } else if (const auto r = registers_.find(word); r != registers_.end()) {
                i.address = {Operand::Kind::reg, static_cast<std::uint64_t>(r->second)};
            } else {
                scan_.fail_at_mark("'" + word +
                                   "' is neither gid, a number nor a register that has been written");
            }
        }
        scan_.expect(']', "after the address");
    }

    Operand operand(DType type) {
        std::string_view text = scan_.number();
        if (text.empty()) text = scan_.word();
        if (text.empty()) scan_.fail("expected an operand");
        const std::string name(text);
        if (const auto r = registers_.find(name); r != registers_.end())
            return {Operand::Kind::reg, static_cast<std::uint64_t>(r->second)};
        if (const auto p = parameters_.find(name); p != parameters_.end()) {
            if (program_.parameters[static_cast<std::size_t>(p->second)].buffer) {
                if (scan_.suffix() == "size")
                    return {Operand::Kind::size, static_cast<std::uint64_t>(p->second)};
                scan_.fail_at_mark("'" + name +
                                   "' is a buffer; load from it with LDG, or count its elements by " + name +
                                   ".size");
            }
            return {Operand::Kind::scalar, static_cast<std::uint64_t>(p->second)};
        }
        if (name == "gid") return {Operand::Kind::gid, 0};
        if (const auto special = special_of(name))
            return {Operand::Kind::special, static_cast<std::uint64_t>(*special)};
        const char first = name[0];
        const bool number = first == '-' || first == '.' || (first >= '0' && first <= '9') || name == "inf" ||
                            name == "nan" || name == "true" || name == "false";
        if (!number) scan_.fail_at_mark("'" + name + "' has not been written and is no parameter");
        Operand o{Operand::Kind::immediate, 0};
        std::string error;
        if (!parse_immediate(name, type, o.value, error))
            scan_.fail_at_mark("'" + name + "' as " + std::string(dtype_name(type)) + ": " + error);
        return o;
    }

    // The special register whose name begins with the word just read; takes the rest of it.
    std::optional<Special> special_of(const std::string& word) {
        std::string name = word;
        if (word == "thread" || word == "block" || word == "block_dim" || word == "grid_dim")
            name += "." + std::string(scan_.suffix());
        for (int k = 0; k < kSpecialCount; ++k)
            if (special_name(static_cast<Special>(k)) == name) return static_cast<Special>(k);
        return std::nullopt;
    }

    // The row whose name begins here, and the type behind it.
    const InstructionInfo* named_instruction(Instruction& i) {
        std::string name(scan_.word());
        if (name.empty()) scan_.fail("expected an instruction");
        std::string_view part;
        const InstructionInfo* row = find_instruction(name);
        for (part = scan_.suffix(); !part.empty(); part = scan_.suffix()) {
            const std::string longer = name + "." + std::string(part);
            const InstructionInfo* next = find_instruction(longer);
            if (row != nullptr && next == nullptr) break;
            name = longer;
            row = next;
        }
        if (row == nullptr) {
            // A type at the end is no part of a name of one word.
            if (const auto dot = name.rfind('.'); dot != std::string::npos &&
                                                  name != "SET." + name.substr(dot + 1) &&
                                                  find_type(name.substr(dot + 1)))
                name.resize(dot);
            scan_.fail_at_mark("unknown instruction '" + name + "'");
        }
        i.opcode = row->opcode;
        if (row->types == 0) {
            if (!part.empty()) scan_.fail_at_mark(name + " takes no type");
            return row;
        }
        if (part.empty()) scan_.fail_at_mark(name + " needs a type, as in " + name + ".f32");
        const auto type = find_type(part);
        if (!type) scan_.fail_at_mark("unknown type '" + std::string(part) + "'");
        if ((row->types & type_bit(*type)) == 0)
            scan_.fail_at_mark(
                name + " does not work on " + std::string(part) +
                (compute_type(*type) != *type ? ", a storage type; load, compute in f32, store" : ""));
        i.type = *type;
        return row;
    }

    std::string target() {
        const std::string name(scan_.word());
        if (name.empty()) scan_.fail("expected a register");
        if (is_declared(name)) scan_.fail_at_mark("'" + name + "' is a parameter, it cannot be written");
        if (name == "gid" || name == "inf" || name == "nan" || name == "true" || name == "false")
            scan_.fail_at_mark("'" + name + "' is a reserved word, it cannot be written");
        return name;
    }

    void instruction() {
        Operand guard;
        if (scan_.accept('@')) {
            const bool negated = scan_.accept('!');
            const std::string name(scan_.word());
            if (name.empty()) scan_.fail("expected a pred register after '@'");
            guard = condition(name, negated);
        }
        Instruction i;
        i.line = scan_.line();
        const bool guarded = guard.kind != Operand::Kind::none;
        const Place here = scan_.place();
        const bool calls = scan_.word() == "CALL";
        const InstructionInfo* row = nullptr;
        const bool folds = !calls && lane_reduction(i, here);
        if (!calls && !folds) {
            scan_.go_to(here);
            row = named_instruction(i);
            if (i.opcode >= Opcode::BREAK) return append(i, guard);
        }
        if (guarded && row != nullptr && is_control(i.opcode))
            scan_.fail_at_mark("'@' before " + std::string(row->name));
        if (guarded) {
            Instruction open;
            open.opcode = Opcode::IF;
            open.line = i.line;
            append(open, guard);
        }
        if (calls)
            call();
        else if (folds)
            fold(i);
        else
            plain(i, *row);
        if (guarded) {
            Instruction close;
            close.opcode = Opcode::ENDIF;
            close.line = i.line;
            append(close);
        }
    }

    // "RED.add.lane.type r, a, b, ...": a tree of ADDs over a lane's own values, put in its place as a function is. Whether one
    // stands here; then i is an instruction of it without operands.
    bool lane_reduction(Instruction& i, const Place& here) {
        static const std::map<std::string_view, Opcode> kFolds = {
            {"add", Opcode::ADD}, {"mul", Opcode::MUL}, {"min", Opcode::MIN}, {"max", Opcode::MAX}};
        scan_.go_to(here);
        if (scan_.word() != "RED") return false;
        const auto found = kFolds.find(scan_.suffix());
        if (found == kFolds.end() || scan_.suffix() != "lane") return false;
        const std::string_view part = scan_.suffix();
        const auto type = find_type(part);
        if (!type || (kTypesNumber & type_bit(*type)) == 0)
            scan_.fail_at_mark("RED over a lane's values needs a type of numbers, as in RED.add.lane.f32" +
                               (part.empty() ? "" : ", not '" + std::string(part) + "'"));
        i.opcode = found->second;
        i.type = *type;
        return true;
    }
    // Neighbours are joined, then what they became, until one is left; an odd one at the end waits.
    void fold(Instruction& i) {
        constexpr std::size_t kMost = 8;
        const std::string name = target();
        std::vector<Operand> values;
        while (scan_.accept(',')) {
            if (values.size() == kMost) scan_.fail("RED over a lane's values takes 2 to 8 of them, got more");
            values.push_back(operand(i.type));
        }
        if (values.size() < 2)
            scan_.fail("RED over a lane's values takes 2 to 8 of them, got " + std::to_string(values.size()));
        while (values.size() > 1) {
            const bool last = values.size() == 2;
            std::vector<Operand> joined;
            for (std::size_t k = 0; k + 1 < values.size(); k += 2) {
                i.src[0] = values[k];
                i.src[1] = values[k + 1];
                i.dst = last ? destination(name, i.type) : made(i.type);
                append(i);
                joined.push_back({Operand::Kind::reg, static_cast<std::uint64_t>(i.dst)});
            }
            if (values.size() % 2 == 1) joined.push_back(values.back());
            values = std::move(joined);
        }
    }

    // The tile or accumulator that stands here, of COPY.TILE or MMA.
    std::int32_t tile(const Instruction& i, int k) {
        const std::string name(scan_.word());
        if (name.empty()) scan_.fail("expected a tile or an accumulator");
        const Names& names = is_accumulator(i.opcode, k) ? accumulators_ : shared_;
        const auto found = names.find(name);
        if (found == names.end())
            scan_.fail_at_mark("'" + name + "' is no " +
                               (is_accumulator(i.opcode, k)
                                    ? "accumulator; '.acc NAME: f32[ROWS, COLUMNS]' makes one"
                                    : "tile; '.shared NAME: type[ROWS, COLUMNS]' makes one"));
        if (is_accumulator(i.opcode, k)) return found->second;
        const SharedArray& array = program_.shared[static_cast<std::size_t>(found->second)];
        if (array.columns == 0)
            scan_.fail_at_mark("'" + name + "' has no rows and columns; declare it as [ROWS, COLUMNS]");
        if (array.dtype != i.type) wrong_type(name, array.dtype, i.type);
        return found->second;
    }

    void plain(Instruction& i, const InstructionInfo& row) {
        const bool result = writes_register(i.opcode);
        std::string name;
        bool first = true;
        if (result) {
            name = target();
            first = false;
        }
        const auto tiles = [&] {
            for (int k = 0; k < tile_count(i.opcode); ++k) {
                if (!first) scan_.expect(',', "before the tile or accumulator");
                first = false;
                i.tiles[k] = tile(i, k);
            }
        };
        if (i.opcode != Opcode::MMA_STORE) tiles();
        if (has_address(i.opcode)) {
            if (!first) scan_.expect(',', "before the address");
            first = false;
            address(i);
        }
        if (i.opcode == Opcode::MMA_STORE) tiles();
        for (int k = 0; k < row.operands; ++k) {
            if (!first)
                scan_.expect(
                    ',', ("before operand " + std::to_string(k + 1) + " of " + std::to_string(row.operands))
                             .c_str());
            first = false;
            i.src[k] = operand(operand_type(i.opcode, i.type, k));
            if (i.opcode == Opcode::CVT && i.src[k].kind == Operand::Kind::immediate)
                scan_.fail_at_mark("CVT of an immediate; write the immediate at the type that is needed");
        }
        if (result) i.dst = destination(name, result_type(i.opcode, i.type));
        append(i);
    }

    Scanner scan_;
    Program program_;
    bool open_ = false;
    std::vector<Statement> statements_;         // of the open program
    Names registers_;                           // name -> number of the last write
    Names parameters_, shared_, accumulators_;  // name -> index
    struct Open {
        Names registers;
        bool loop;
    };
    std::vector<Open> enclosing_;  // registers where each open IF and LOOP began
    std::map<std::string, Function> functions_;
    Function* function_ = nullptr;  // whose text is being read
    std::size_t base_ = 0;          // open IFs and LOOPs where the function that is being put in begins
    int calls_ = 0, depth_ = 0;     // of the open program
};

}  // namespace

std::vector<Program> assemble_module(std::string_view text) { return Assembler(text).run(); }

std::vector<Program> assemble_for_device(std::string_view device, std::string_view module,
                                         std::string_view text) {
    try {
        std::vector<Program> programs = assemble_module(text);
        for (Program& p : programs) p = optimize(p);
        return programs;
    } catch (const FormatError& e) {
        throw CompileFailed(
            std::string(device) + ": module '" + std::string(module) + "' did not compile: " + e.what(),
            std::string(e.what()) + "\n" + numbered_source(text));
    }
}

Program assemble(std::string_view text) {
    std::vector<Program> programs = assemble_module(text);
    if (programs.size() != 1)
        throw FormatError("program: the text holds " + std::to_string(programs.size()) +
                          " programs, one is expected");
    return std::move(programs.front());
}

}  // namespace invar
