// SPDX-License-Identifier: Apache-2.0
// Files for the tests of floor 6: a folder that disappears with the test, and safetensors files written byte
// by byte, so that broken ones can be made.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

namespace invar::test {

class TempFolder {
public:
    TempFolder() {
        std::string pattern = (std::filesystem::temp_directory_path() / "invar-io-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
        path_ = pattern;
    }
    ~TempFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;
    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path write(const std::string& name, const std::string& text) const {
        std::ofstream(path_ / name, std::ios::binary) << text;
        return path_ / name;
    }

private:
    std::filesystem::path path_;
};

inline std::string u64_bytes(std::uint64_t v) {
    std::string s;
    for (int i = 0; i < 8; ++i) s += static_cast<char>(v >> (8 * i) & 0xFF);
    return s;
}

// A file with this JSON header, padded with spaces to 8 bytes, and data.
inline std::string safetensors_bytes(std::string json, const std::string& data) {
    json.resize((json.size() + 7) / 8 * 8, ' ');
    return u64_bytes(json.size()) + json + data;
}

// EXPECT that statement throws exactly this type with a message that holds each of the texts.
template <class E, class F>
void expect_error(F&& statement, std::initializer_list<std::string> texts) {
    try {
        statement();
        ADD_FAILURE() << "nothing was thrown; wanted " << *texts.begin();
    } catch (const E& e) {
        const std::string what = e.what();
        for (const std::string& t : texts)
            EXPECT_NE(what.find(t), what.npos) << "missing: " << t << "\nin: " << what;
    } catch (const std::exception& e) {
        ADD_FAILURE() << "another type was thrown: " << e.what();
    }
}

}  // namespace invar::test
