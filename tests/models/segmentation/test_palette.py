"""Every class has a colour of its own, and streets look as the field draws them."""

from models.segmentation.palette import CITYSCAPES, palette


def test_colours_differ_for_as_many_classes_as_a_map_can_have():
    colours = palette([f"class {i}" for i in range(255)])
    assert len(set(colours)) == 255
    assert all(0 <= value <= 255 for colour in colours for value in colour)


def test_known_names_have_the_colours_of_cityscapes():
    names = ["wall", "building, edifice", "Sky", "tree", "pagoda"]
    wall, building, sky, tree, pagoda = palette(names)
    assert (wall, building, sky) == ((102, 102, 156), (70, 70, 70), (70, 130, 180))
    assert tree == CITYSCAPES["vegetation"]
    assert pagoda not in CITYSCAPES.values()


def test_a_name_that_is_there_twice_gives_its_colour_to_the_first():
    first, second, third = palette(["road", "road", "tree"])
    assert first == CITYSCAPES["road"] != second
    assert len({first, second, third}) == 3
