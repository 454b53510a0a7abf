//go:build e2e && !reboot

package e2e

// moreImages makes the images that only TestReboot runs.
func moreImages(string) ([]string, error) { return nil, nil }
