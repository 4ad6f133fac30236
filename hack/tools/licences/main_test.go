package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFind looks for the licences of made-up modules.
func TestFind(t *testing.T) {
	const bsd = `Copyright (c) 2026 Somebody. All rights reserved.

Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:

1. Redistributions of source code must retain the above copyright notice, this
   list of conditions and the following disclaimer.
2. Redistributions in binary form must reproduce the above copyright notice,
   this list of conditions and the following disclaimer in the documentation
   and/or other materials provided with the distribution.

THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS" AND
ANY EXPRESS OR IMPLIED WARRANTIES, INCLUDING, BUT NOT LIMITED TO, THE IMPLIED
WARRANTIES OF MERCHANTABILITY AND FITNESS FOR A PARTICULAR PURPOSE ARE
DISCLAIMED. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR CONTRIBUTORS BE LIABLE FOR
ANY DIRECT, INDIRECT, INCIDENTAL, SPECIAL, EXEMPLARY, OR CONSEQUENTIAL DAMAGES
(INCLUDING, BUT NOT LIMITED TO, PROCUREMENT OF SUBSTITUTE GOODS OR SERVICES;
LOSS OF USE, DATA, OR PROFITS; OR BUSINESS INTERRUPTION) HOWEVER CAUSED AND ON
ANY THEORY OF LIABILITY, WHETHER IN CONTRACT, STRICT LIABILITY, OR TORT
(INCLUDING NEGLIGENCE OR OTHERWISE) ARISING IN ANY WAY OUT OF THE USE OF THIS
SOFTWARE, EVEN IF ADVISED OF THE POSSIBILITY OF SUCH DAMAGE.
`
	const agpl = `This program is free software: you can redistribute it and/or modify it under the terms of the GNU Affero General
Public License as published by the Free Software Foundation, either version 3 of the License, or (at your option) any later version.

This program is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the implied warranty of
MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU Affero General Public License for more details.

You should have received a copy of the GNU Affero General Public License along with this program. If not, see
<http://www.gnu.org/licenses/>.
`
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string // licences, or what the error says
	}{
		{"known", map[string]string{"LICENSE.md": bsd, "NOTICE": "by Somebody"}, "BSD-2-Clause"},
		{"none", map[string]string{"README": bsd}, "example.com/m: no licence in "},
		{"own words", map[string]string{"COPYING": "You may use this on Sundays."}, "COPYING is a known licence to 0 % only"},
		{"not taken", map[string]string{"LICENCE": agpl}, "LICENCE has the licence AGPL-3.0-or-later, which is not among"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := module{path: "example.com/m", dir: t.TempDir()}
			for name, content := range tt.files {
				if err := os.WriteFile(filepath.Join(m.dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got := ""
			if err := m.find(); err != nil {
				got = err.Error()
			} else {
				got = strings.Join(m.licences, " AND ")
				if len(m.texts) != len(tt.files) {
					t.Errorf("%d texts, want %d", len(m.texts), len(tt.files))
				}
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
